//! TLS as the slow half knows it: the files that the configuration names, read and checked before anything is bound,
//! read again when they change, and made into what workers act on. No key is ever shown or logged.

mod certificate;
mod clients;
mod expiry;
pub(crate) mod files;
mod folder;
mod identity;
mod origination;
pub(crate) mod problem;
mod sent;
mod shown;
mod termination;
#[cfg(test)]
pub(crate) mod testing;
mod tickets;
mod upkeep;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::SystemTime;

use ringgate_config::Plan;
use ringgate_engine::tls::{Origination, Termination};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use self::certificate::{Certificate, Standing};
pub(crate) use self::origination::{PoolTls, unverified, verifying};
pub use self::problem::Problem;
pub(crate) use self::termination::ListenerTls;
pub(crate) use self::upkeep::{Rereads, start};

/// What a plan's files hold, in the form in which workers act on it. A copy costs little: it shares everything.
#[derive(Clone, Debug)]
pub struct Material {
    /// In the order of the plan; `None` where TLS is not ended.
    listeners: Vec<Option<Arc<ListenerTls>>>,
    /// In the order of the plan; `None` where nothing is encrypted.
    pools: Vec<Option<Arc<PoolTls>>>,
    /// How many workers the pools have settings for.
    workers: usize,
}

/// Reads every file that the plan names, for a process of so many workers. Opens nothing but these files.
///
/// # Errors
/// Every problem with them.
pub fn load(plan: &Plan, workers: usize, now: SystemTime) -> Result<Material, Vec<Problem>> {
    let nothing = Material {
        listeners: vec![None; plan.listeners.len()],
        pools: vec![None; plan.pools.len()],
        workers,
    };
    let (material, problems) = nothing.reread(plan, now);
    match problems.is_empty() {
        true => Ok(material),
        false => Err(problems),
    }
}

impl Material {
    /// The same plan's files as they are now. What has not changed is shared with the material before, what has gone
    /// bad stays as it was.
    pub(crate) fn reread(&self, plan: &Plan, now: SystemTime) -> (Material, Vec<Problem>) {
        let provider = Arc::new(provider());
        let mut problems = Vec::new();
        let listeners = plan
            .listeners
            .iter()
            .zip(&self.listeners)
            .map(|(listener, old)| {
                let tls = listener.tls.as_ref()?;
                ListenerTls::read(listener, tls, old.as_ref(), &provider, now, &mut problems)
            });
        let listeners = listeners.collect();
        let reader = origination::Reader {
            provider: &provider,
            workers: self.workers,
            now,
        };
        let pools = plan.pools.iter().zip(&self.pools).map(|(pool, old)| {
            let tls = pool.tls.as_ref()?;
            PoolTls::read(pool, tls, old.as_ref(), &reader, &mut problems)
        });
        let material = Material {
            listeners,
            pools: pools.collect(),
            workers: self.workers,
        };
        (material, problems)
    }

    /// How the listener at that place in the plan ends TLS.
    pub fn termination(&self, listener: usize) -> Option<&Arc<Termination>> {
        Some(&self.listener(listener)?.termination)
    }

    /// How connections to the servers of the pool at that place in the plan are encrypted.
    pub fn origination(&self, pool: usize) -> Option<&Arc<Origination>> {
        Some(&self.pool(pool)?.origination)
    }

    /// The certificates of the listener at that place in the plan; the first is its default.
    pub fn certificates(&self, listener: usize) -> impl Iterator<Item = &Certificate> {
        let shown = self.listener(listener).map(|tls| &tls.shown);
        shown
            .into_iter()
            .flatten()
            .map(|identity| &identity.certificate)
    }

    /// What the operator should know: certificates that end or have ended, files that are open to everybody.
    pub fn warnings(&self, plan: &Plan, now: SystemTime) -> Vec<String> {
        expiry::warnings(self, plan, now)
            .into_iter()
            .map(|warning| warning.to_string())
            .chain(self.remarks(plan))
            .collect()
    }

    /// When the certificates of listeners end, in seconds since 1970, each by a name of its own.
    pub(crate) fn certificate_ends(&self) -> Vec<(String, i64)> {
        expiry::ends(self)
    }

    /// What the operator should know, whatever the clock says.
    fn remarks(&self, plan: &Plan) -> Vec<String> {
        let mut remarks = Vec::new();
        for (listener, tls) in plan.listeners.iter().zip(&self.listeners) {
            let Some(tls) = tls else { continue };
            remarks.extend(
                tls.remarks()
                    .map(|remark| format!("listener `{}`: {remark}", listener.name)),
            );
        }
        for (pool, tls) in plan.pools.iter().zip(&self.pools) {
            let identity = tls.as_ref().and_then(|tls| tls.identity.as_ref());
            let of_identity = identity.iter().flat_map(|identity| &identity.remarks);
            remarks.extend(of_identity.map(|remark| format!("pool `{}`: {remark}", pool.name)));
            if pool.tls.as_ref().is_some_and(|tls| !tls.verify) {
                remarks.push(format!(
                    "pool `{}`: whoever answers is taken for a server (`verify: false`)",
                    pool.name
                ));
            }
        }
        remarks
    }

    pub(crate) fn listener(&self, at: usize) -> Option<&Arc<ListenerTls>> {
        self.listeners.get(at)?.as_ref()
    }

    pub(crate) fn pool(&self, at: usize) -> Option<&Arc<PoolTls>> {
        self.pools.get(at)?.as_ref()
    }

    /// Whether there is any file to be kept an eye on.
    pub(crate) fn is_empty(&self) -> bool {
        self.listeners.iter().all(Option::is_none) && self.pools.iter().all(Option::is_none)
    }

    /// Whether every part of it is the very same.
    pub(crate) fn is(&self, other: &Material) -> bool {
        fn same<T>(one: &[Option<Arc<T>>], other: &[Option<Arc<T>>]) -> bool {
            let pointers = |all: &[Option<Arc<T>>]| -> Vec<Option<*const T>> {
                all.iter()
                    .map(|one| one.as_ref().map(Arc::as_ptr))
                    .collect()
            };
            pointers(one) == pointers(other)
        }
        same(&self.listeners, &other.listeners) && same(&self.pools, &other.pools)
    }
}

/// The one that all TLS is spoken with; never a default of the process, which any library could have set.
pub(crate) fn provider() -> CryptoProvider {
    aws_lc_rs::default_provider()
}
