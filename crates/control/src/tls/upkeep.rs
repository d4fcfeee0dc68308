//! What TLS needs while the process serves: its files read again when they change, new keys for session tickets, and
//! a reminder of certificates that end. A change that is bad changes nothing that is served.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringgate_config::Plan;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::sleep;

use super::watch::Watch;
use super::{Material, Problem, expiry};
use crate::facts::Facts;

/// The files are read this often even when nothing seems to happen: a watch sees neither every file system nor what
/// links lead to.
const LOOK_PERIOD: Duration = Duration::from_secs(60);

/// How long a random key seals tickets.
const ROTATION_PERIOD: Duration = Duration::from_secs(6 * 60 * 60);

/// How often it is said which certificates end.
const REMINDER_PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// What became of the changes of files.
#[derive(Debug, Default)]
pub(crate) struct Rereads {
    /// Changes that were taken over without a problem.
    pub(crate) succeeded: u64,
    /// Changes that were bad at least in part.
    pub(crate) failed: u64,
    /// What is wrong with the files as they are now.
    pub(crate) problems: Vec<Problem>,
}

/// Starts the upkeep. Its tasks end with the local set that this is called in.
pub(crate) fn start(plan: &Plan, facts: &Rc<RefCell<Facts>>) {
    let material = facts.borrow().material().clone();
    for remark in material.remarks(plan) {
        tracing::warn!("{remark}");
    }
    expiry::log(&material, plan, SystemTime::now());
    if material.is_empty() {
        return;
    }
    let plan = Arc::new(plan.clone());
    spawn_local(rotate(Rc::clone(facts)));
    spawn_local(remind(Arc::clone(&plan), Rc::clone(facts)));
    spawn_local(follow(plan, Rc::clone(facts)));
}

async fn rotate(facts: Rc<RefCell<Facts>>) {
    loop {
        sleep(ROTATION_PERIOD).await;
        let material = facts.borrow().material().clone();
        for listener in material.listeners.iter().flatten() {
            if listener.ticket_keys.rotate().is_err() {
                tracing::error!(
                    "no random numbers for a new key of session tickets; the old one goes on"
                );
            }
        }
    }
}

async fn remind(plan: Arc<Plan>, facts: Rc<RefCell<Facts>>) {
    loop {
        sleep(REMINDER_PERIOD).await;
        let material = facts.borrow().material().clone();
        expiry::log(&material, &plan, SystemTime::now());
    }
}

/// Reads the files whenever they may have changed. A watch begins before each reading, so that nothing is missed, and
/// folders that have come since are watched too.
async fn follow(plan: Arc<Plan>, facts: Rc<RefCell<Facts>>) {
    let mut watch_failed = false;
    loop {
        let (known, plan_read) = (facts.borrow().material().clone(), Arc::clone(&plan));
        let look = spawn_blocking(move || {
            let watch = Watch::begin(&plan_read);
            let (material, problems) = known.reread(&plan_read, SystemTime::now());
            (watch, material, problems)
        });
        let Ok((watch, material, problems)) = look.await else {
            tracing::error!("the files of TLS could not be read again");
            sleep(LOOK_PERIOD).await;
            continue;
        };
        match &watch.error {
            Some(error) if !watch_failed => tracing::warn!(
                %error,
                "the files of TLS cannot be watched; changes are found within {} s", LOOK_PERIOD.as_secs()
            ),
            _ => {}
        }
        watch_failed = watch.error.is_some();
        take_over(&plan, &facts, material, problems);
        watch.settled(LOOK_PERIOD).await;
    }
}

/// Publishes what has changed, and says so; says what is wrong, once.
fn take_over(plan: &Plan, facts: &RefCell<Facts>, material: Material, problems: Vec<Problem>) {
    let mut facts = facts.borrow_mut();
    let known_problems = std::mem::take(&mut facts.rereads.problems);
    for problem in problems
        .iter()
        .filter(|problem| !known_problems.contains(problem))
    {
        tracing::error!("{problem}; what was good before goes on being served");
    }
    let before = facts.material().clone();
    let changed = !before.is(&material);
    if changed {
        log_change(plan, &before, &material);
        expiry::log(&material, plan, SystemTime::now());
        facts.renew_tls(plan, material);
    }
    if !problems.is_empty() {
        if changed || problems != known_problems {
            facts.rereads.failed += 1;
        }
    } else if changed {
        facts.rereads.succeeded += 1;
    } else if !known_problems.is_empty() {
        tracing::info!("the files of TLS are as they were when they were good");
    }
    facts.rereads.problems = problems;
}

fn log_change(plan: &Plan, before: &Material, after: &Material) {
    for (at, listener) in plan.listeners.iter().enumerate() {
        let (old, new) = (before.listener(at), after.listener(at));
        if old.map(Arc::as_ptr) != new.map(Arc::as_ptr) {
            let certificates = after.certificates(at).count();
            tracing::info!(listener = %listener.name, certificates, "certificates re-read");
        }
    }
    for (at, pool) in plan.pools.iter().enumerate() {
        let (old, new) = (before.pool(at), after.pool(at));
        if old.map(Arc::as_ptr) != new.map(Arc::as_ptr) {
            tracing::info!(pool = %pool.name, "certificates re-read");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use tokio::task::LocalSet;

    use super::*;
    use crate::testing::{Directory, facts, until};
    use crate::tls::testing::{made, tls_plan};

    /// The names of the default certificate that is published, and the generation.
    fn shown(facts: &RefCell<Facts>) -> (String, u64) {
        let facts = facts.borrow();
        let name = facts
            .material()
            .certificates(0)
            .next()
            .unwrap()
            .name
            .clone();
        let snapshot = facts.snapshot();
        let published = snapshot.listeners[0].tls.as_ref().map(Arc::as_ptr);
        assert_eq!(published, facts.material().termination(0).map(Arc::as_ptr));
        (name, snapshot.generation)
    }

    async fn kept_up(folder: &Path, test: impl AsyncFnOnce(Rc<RefCell<Facts>>)) {
        let plan = tls_plan(folder);
        let facts = Rc::new(RefCell::new(facts(&plan, 1, 1)));
        let tasks = LocalSet::new();
        tasks
            .run_until(async {
                start(&plan, &facts);
                test(Rc::clone(&facts)).await;
            })
            .await;
    }

    #[tokio::test]
    async fn a_new_pair_is_published_once_and_a_bad_one_is_not() {
        let directory = Directory::new();
        let root = directory.path("");
        made(&["first.example"]).write(&root, "a");
        kept_up(&root, async |facts| {
            fs::write(root.join("a.pem"), "").unwrap();
            until("the bad file is seen", || {
                facts.borrow().rereads.failed == 1
            })
            .await;
            assert_eq!(shown(&facts), ("first.example".to_owned(), 1));
            assert_eq!(facts.borrow().rereads.problems.len(), 1);
            made(&["second.example"]).write(&root, "a");
            until("the new pair is seen", || {
                facts.borrow().rereads.succeeded == 1
            })
            .await;
            assert_eq!(shown(&facts), ("second.example".to_owned(), 2));
            assert!(facts.borrow().rereads.problems.is_empty());
        })
        .await;
    }

    #[tokio::test]
    async fn a_folder_that_is_exchanged_by_a_link_is_seen() {
        let directory = Directory::new();
        let root = directory.path("certs");
        for (version, name) in [("..1", "first.example"), ("..2", "second.example")] {
            let data = root.join(version);
            fs::create_dir_all(&data).unwrap();
            let made = made(&[name]);
            fs::write(data.join("tls.crt"), made.pem).unwrap();
            fs::write(data.join("tls.key"), made.key).unwrap();
        }
        // As Kubernetes mounts a secret.
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/tls.crt", root.join("tls.crt")).unwrap();
        symlink("..data/tls.key", root.join("tls.key")).unwrap();
        kept_up(&root, async |facts| {
            symlink("..2", root.join("..data_tmp")).unwrap();
            fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
            until("the other folder is seen", || {
                facts.borrow().rereads.succeeded == 1
            })
            .await;
            assert_eq!(shown(&facts), ("second.example".to_owned(), 2));
        })
        .await;
    }

    #[tokio::test]
    async fn a_folder_per_site_that_comes_later_is_followed_too() {
        let directory = Directory::new();
        let root = directory.path("live");
        fs::create_dir(&root).unwrap();
        made(&["z.example"]).write(&root, "z");
        let write = |name: &str| {
            let site = root.join("a");
            fs::create_dir_all(&site).unwrap();
            let made = made(&[name]);
            fs::write(site.join("fullchain.pem"), made.pem).unwrap();
            fs::write(site.join("privkey.pem"), made.key).unwrap();
        };
        kept_up(&root, async |facts| {
            for name in ["a.example", "b.example"] {
                write(name);
                until("it is shown", || shown(&facts).0 == name).await;
            }
        })
        .await;
    }

    #[test]
    fn the_same_problem_is_counted_once() {
        let directory = Directory::new();
        let root = directory.path("");
        made(&["a.example"]).write(&root, "a");
        let plan = tls_plan(&root);
        let facts = RefCell::new(facts(&plan, 1, 1));
        let reread = || {
            let known = facts.borrow().material().clone();
            let (material, problems) = known.reread(&plan, SystemTime::now());
            take_over(&plan, &facts, material, problems);
            let rereads = &facts.borrow().rereads;
            (rereads.succeeded, rereads.failed, rereads.problems.len())
        };
        assert_eq!(reread(), (0, 0, 0));
        let good = fs::read(root.join("a.pem")).unwrap();
        fs::write(root.join("a.pem"), "garbage").unwrap();
        assert_eq!(reread(), (0, 1, 1));
        assert_eq!(reread(), (0, 1, 1));
        fs::write(root.join("a.pem"), good).unwrap();
        assert_eq!(reread(), (0, 1, 0));
        assert_eq!(facts.borrow().snapshot().generation, 1);
    }
}
