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
