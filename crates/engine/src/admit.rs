//! Decides whether an accepted connection may stay on its listener: by its client's address, and by
//! how many the listener and the client have already. It counts what it admits for as long as that
//! is open, and never waits.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use ringgate_runtime::now;

use crate::access::{AccessList, Verdict};
use crate::clients::{ClientLimits, Clients, Place, Refusal};
use crate::reason::{ClosedBy, Reason};
use crate::session::{Client, Ending};
use crate::snapshot::Listener;

/// Who may connect to a listener, and how often.
#[derive(Debug, Default)]
pub struct Admission {
    /// Judges addresses; `None` lets every address in.
    pub access: Option<AccessList>,
    /// The bound on connections open at once over all workers.
    pub connections: Option<OpenLimit>,
    /// The bounds on each client.
    pub per_client: Option<PerClient>,
}

/// A bound on connections open at once.
#[derive(Debug)]
pub struct OpenLimit {
    /// As many as may be open.
    pub max: NonZeroU32,
    /// As many as are open, over all workers. It goes on when the bound changes.
    pub open: Arc<AtomicU32>,
}

/// The bounds on each client, and what its clients have open.
#[derive(Debug)]
pub struct PerClient {
    /// The bounds.
    pub limits: ClientLimits,
    /// Who has what. It goes on when the bounds change.
    pub clients: Arc<Clients>,
}

impl Admission {
    /// Whether it can refuse a connection for that reason.
    pub fn may_refuse(&self, reason: Reason) -> bool {
        let limits = self.per_client.as_ref().map(|bounds| &bounds.limits);
        match reason {
            Reason::DeniedAddress => self.access.is_some(),
            Reason::LimitConnections => self.connections.is_some(),
            Reason::LimitClientConnections => {
                limits.is_some_and(|limits| limits.connections_max.is_some())
            }
            Reason::LimitClientRate => limits.is_some_and(|limits| limits.rate.is_some()),
            Reason::Overload => limits.is_some(),
            _ => false,
        }
    }

    /// Whether it has to know a client's address.
    pub(crate) fn asks_for_addresses(&self) -> bool {
        self.access.is_some() || self.per_client.is_some()
    }
}

/// A connection that its listener admitted, counted until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// Known when something is counted there.
    listener: Option<Arc<Listener>>,
    client: Option<Place>,
}

impl Admitted {
    /// Admits one connection. `client` is known when the listener asks for addresses.
    ///
    /// # Errors
    /// How a connection ends that may not stay.
    pub(crate) fn new(listener: &Arc<Listener>, client: Option<Client>) -> Result<Self, Ending> {
        let mut admitted = Self::default();
        judge_client(listener, client)?;
        admitted.admit_connection(listener)?;
        admitted.admit_client(listener, client)?;
        Ok(admitted)
    }

    /// Admits one connection whose client is not known yet: from `peer` a PROXY header has to come that
    /// names it.
    ///
    /// # Errors
    /// How a connection ends that may not stay.
    pub(crate) fn of_proxy(
        listener: &Arc<Listener>,
        trusted: &AccessList,
        peer: Option<Client>,
    ) -> Result<Self, Ending> {
        let mut admitted = Self::default();
        judge(trusted, peer).map_err(|ending| match ending.reason {
            Reason::DeniedAddress => Ending::ours(Reason::ProxyHeader),
            _ => ending,
        })?;
        admitted.admit_connection(listener)?;
        Ok(admitted)
    }

    /// Admits the client of such a connection, when it is known.
    ///
    /// # Errors
    /// How a connection ends that may not stay.
    pub(crate) fn admit_late(
        &mut self,
        listener: &Arc<Listener>,
        client: Option<Client>,
    ) -> Result<(), Ending> {
        judge_client(listener, client)?;
        self.admit_client(listener, client)
    }

    fn admit_connection(&mut self, listener: &Arc<Listener>) -> Result<(), Ending> {
        if let Some(limit) = &listener.admission.connections {
            if !take(&limit.open, limit.max.get()) {
                return Err(Ending::ours(Reason::LimitConnections));
            }
            self.listener = Some(listener.clone());
        }
        Ok(())
    }

    fn admit_client(
        &mut self,
        listener: &Arc<Listener>,
        client: Option<Client>,
    ) -> Result<(), Ending> {
        let admission = &listener.admission;
        if let (Some(bounds), Some(Client::Ip(address))) = (&admission.per_client, client) {
            let place = bounds
                .clients
                .admit(address.ip(), &bounds.limits, now())
                .map_err(|refusal| Ending::ours(reason_of(refusal)))?;
            self.client = Some(place);
            self.listener.get_or_insert_with(|| listener.clone());
        }
        Ok(())
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        if let Some(limit) = &listener.admission.connections {
            limit.open.fetch_sub(1, Relaxed);
        }
        if let (Some(bounds), Some(place)) = (&listener.admission.per_client, self.client.take()) {
            bounds.clients.leave(place);
        }
    }
}

fn judge_client(listener: &Listener, client: Option<Client>) -> Result<(), Ending> {
    match &listener.admission.access {
        Some(access) => judge(access, client),
        None => Ok(()),
    }
}

/// Whether an address may connect. A unix client has none and is let in, since the file's owner
/// decides who can connect; one that is gone already cannot be judged and has nothing to say.
fn judge(access: &AccessList, client: Option<Client>) -> Result<(), Ending> {
    match client {
        Some(Client::Unix) => Ok(()),
        Some(Client::Ip(address)) => match access.verdict(address.ip()) {
            Verdict::Allowed => Ok(()),
            Verdict::Denied => Err(Ending::ours(Reason::DeniedAddress)),
        },
        Some(Client::Gone) | None => Err(Ending {
            by: ClosedBy::Client,
            reason: Reason::ClientReset,
        }),
    }
}

/// Counts one more unless that would be more than `max`.
pub(crate) fn take(count: &AtomicU32, max: u32) -> bool {
    count
        .fetch_update(Relaxed, Relaxed, |open| (open < max).then(|| open + 1))
        .is_ok()
}

fn reason_of(refusal: Refusal) -> Reason {
    match refusal {
        Refusal::Connections => Reason::LimitClientConnections,
        Refusal::Rate => Reason::LimitClientRate,
        Refusal::Full => Reason::Overload,
    }
}
