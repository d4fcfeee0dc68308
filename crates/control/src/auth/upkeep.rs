//! What credentials need while the process serves: their files read again when they change, and keys fetched on their
//! schedule. A change that is bad changes nothing that is used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringgate_config::JwtKeys;
use ringgate_gateway::auth::Keys;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::sleep;

use super::Credentials;
use super::fetch::Remote;
use super::file::NamedFile;
use super::schedule::Schedule;
use crate::facts::Facts;
use crate::tls::Problem;
use crate::tls::files::Digest;
use crate::tls::problem::Fault;
use crate::tls::watch::Watch;

/// The files are read this often even when nothing seems to happen.
const LOOK_PERIOD: Duration = Duration::from_secs(60);

/// How often it is seen to whether keys are to be fetched.
const FETCH_LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Starts the upkeep. Its tasks end with the local set that this is called in.
pub(crate) fn start(credentials: &Credentials, facts: &Rc<RefCell<Facts>>) {
    for warning in credentials.warnings() {
        tracing::warn!("{warning}");
    }
    let ledger = Rc::new(Ledger {
        credentials: credentials.clone(),
        facts: Rc::clone(facts),
        problems: RefCell::default(),
    });
    if !credentials.files.is_empty() {
        spawn_local(follow(Rc::clone(&ledger)));
    }
    for remote in &credentials.remotes {
        spawn_local(refresh(Arc::clone(remote), Rc::clone(&ledger)));
    }
}

/// Where it is written down what became of changes.
struct Ledger {
    credentials: Credentials,
    facts: Rc<RefCell<Facts>>,
    /// What is wrong now, by the key of the configuration.
    problems: RefCell<BTreeMap<String, Problem>>,
}

impl Ledger {
    /// What lies at that key has changed.
    fn note_change(&self, key: &str, what: &str) {
        tracing::info!("{key}: {what}");
        self.facts.borrow_mut().auth_rereads.succeeded += 1;
        self.note_good(key);
        for misfit in self.credentials.misfits() {
            tracing::warn!("{misfit}");
        }
    }

    /// What lies at that key is as it was when it was good.
    fn note_good(&self, key: &str) {
        if self.problems.borrow_mut().remove(key).is_some() {
            tracing::info!("{key}: good again");
            self.publish();
        }
    }

    /// Said and counted once, until it is another problem.
    fn note_problem(&self, problem: Problem) {
        if self.problems.borrow().get(&problem.key) == Some(&problem) {
            return;
        }
        tracing::error!("{problem}; what was good before goes on being used");
        self.facts.borrow_mut().auth_rereads.failed += 1;
        self.problems
            .borrow_mut()
            .insert(problem.key.clone(), problem);
        self.publish();
    }

    fn publish(&self) {
        let problems = self.problems.borrow().values().cloned().collect();
        self.facts.borrow_mut().auth_rereads.problems = problems;
    }
}

/// Reads the files whenever they may have changed. A watch begins before each reading, so that nothing is missed.
async fn follow(ledger: Rc<Ledger>) {
    let mut watch_failed = false;
    loop {
        let files = ledger.credentials.files.clone();
        let look = spawn_blocking(move || {
            let watch = Watch::of_files(files.iter().map(|file| file.path.as_path()));
            let readings: Vec<_> = files.iter().map(|file| file.reread()).collect();
            (watch, readings)
        });
        let Ok((watch, readings)) = look.await else {
            tracing::error!("the files of credentials could not be read again");
            sleep(LOOK_PERIOD).await;
            continue;
        };
        match &watch.error {
            Some(error) if !watch_failed => tracing::warn!(
                %error,
                "the files of credentials cannot be watched; changes are found within {} s", LOOK_PERIOD.as_secs()
            ),
            _ => {}
        }
        watch_failed = watch.error.is_some();
        for (file, reading) in ledger.credentials.files.iter().zip(readings) {
            take_over(&ledger, file, reading);
        }
        watch.settled(LOOK_PERIOD).await;
    }
}

fn take_over(ledger: &Ledger, file: &NamedFile, reading: Result<super::file::Read, Problem>) {
    match reading {
        Err(problem) => ledger.note_problem(problem),
        Ok(read) => {
            for remark in read.remarks {
                tracing::warn!("{remark}");
            }
            match read.changed {
                Some(count) => {
                    let what = format!("{} re-read: {count}", file.path.display());
                    ledger.note_change(file.key(), &what);
                }
                None => ledger.note_good(file.key()),
            }
        }
    }
}

/// Fetches keys on their schedule, for ever.
async fn refresh(remote: Arc<Remote>, ledger: Rc<Ledger>) {
    let JwtKeys::Url {
        url,
        refresh,
        max_age,
        ..
    } = &remote.keys
    else {
        return;
    };
    let mut schedule = Schedule::new(*refresh, *max_age);
    let mut known = None;
    loop {
        if schedule.is_due(remote.ring.is_wanted(), Instant::now()) {
            let began = Instant::now();
            remote.ring.looked();
            let fetched = remote.fetch().await;
            let taken = fetched.and_then(|bytes| take_keys(&remote, &bytes, &mut known));
            schedule.note(began, taken.is_ok());
            match taken {
                Ok(Some(count)) => {
                    ledger.note_change(&remote.key, &format!("{count} keys of {url}"))
                }
                Ok(None) => ledger.note_good(&remote.key),
                Err(why) => {
                    let fault = Fault::new(format!("no keys from {url}: {why}"));
                    ledger.note_problem(fault.at(&remote.key));
                }
            }
        }
        if schedule.is_outdated(Instant::now()) {
            let age = max_age.as_secs();
            tracing::error!("the keys of {url} are older than {age} s and are not used any more");
            remote.ring.publish(Keys::none());
            schedule.forget();
            known = None;
        }
        sleep(FETCH_LOOK_PERIOD).await;
    }
}

/// Publishes keys that are others than those before, and says how many they are.
fn take_keys(
    remote: &Remote,
    bytes: &[u8],
    known: &mut Option<Digest>,
) -> Result<Option<usize>, String> {
    let digest = Some(Digest::of([bytes]));
    if *known == digest {
        return Ok(None);
    }
    let parsed = Keys::parse(bytes).map_err(|flaw| flaw.to_string())?;
    for remark in parsed.remarks {
        tracing::warn!("{}: {remark}", remote.key);
    }
    let count = parsed.keys.len();
    remote.ring.publish(parsed.keys);
    *known = digest;
    Ok(Some(count))
}
