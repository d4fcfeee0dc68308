//! How a listener ends TLS, made from what its configuration says and from the files that it names. What cannot be
//! read anew goes on as it was.

use std::sync::Arc;
use std::time::SystemTime;

use ringgate_config::{Listener, Tls, TlsVersion, UnknownName};
use ringgate_engine::tls::Termination;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::version::{TLS12, TLS13};

use super::clients::ClientTrust;
use super::files::Digest;
use super::identity::Identity;
use super::problem::{Fault, Problem};
use super::shown::{self, Shown};
use super::tickets::{TicketKeys, Ticketer};

/// Tickets that a client of TLS 1.3 gets: one to resume with, one for a second connection at the same time.
const TICKETS: usize = 2;

/// What is known of a listener's TLS besides what workers need.
#[derive(Debug)]
pub(crate) struct ListenerTls {
    pub(crate) termination: Arc<Termination>,
    /// The first is the default.
    pub(crate) shown: Shown,
    pub(crate) ticket_keys: Arc<TicketKeys>,
    /// The keys are a file's, which every user of the host may read.
    ticket_keys_open: bool,
    clients: Option<Arc<ClientTrust>>,
}

impl ListenerTls {
    /// Reads all files of a listener. `old` is what was known before: what has not changed comes back, what has gone
    /// bad stays, and its problems are added to `problems`. `None` when there is nothing to fall back on.
    pub(super) fn read(
        listener: &Listener,
        tls: &Tls,
        old: Option<&Arc<ListenerTls>>,
        provider: &Arc<CryptoProvider>,
        now: SystemTime,
        problems: &mut Vec<Problem>,
    ) -> Option<Arc<ListenerTls>> {
        let key = format!("listeners.{}.tls", listener.name);
        let problems_before = problems.len();

        let old_shown = old.map_or(&[][..], |old| &old.shown);
        let (shown, found) = shown::read(
            &tls.certs,
            &format!("{key}.certs"),
            old_shown,
            provider,
            now,
        );
        problems.extend(found);

        let old_clients = old.and_then(|old| old.clients.as_ref());
        let clients = tls.client_auth.as_ref().and_then(|auth| {
            ClientTrust::read(
                auth,
                &format!("{key}.client_auth"),
                old_clients,
                provider,
                now,
            )
            .map_err(|problem| problems.push(problem))
            .ok()
            .or_else(|| old_clients.cloned())
        });

        let old_keys = old.map(|old| (Arc::clone(&old.ticket_keys), old.ticket_keys_open));
        let keys = match &tls.ticket_keys {
            Some(path) => TicketKeys::read(path, old_keys.as_ref().map(|(keys, _)| keys)),
            None => match &old_keys {
                Some(keys) => Ok(keys.clone()),
                None => TicketKeys::random()
                    .map(|keys| (Arc::new(keys), false))
                    .map_err(|_| {
                        Fault::new(
                            "the system has no random numbers for the keys of session tickets",
                        )
                    }),
            },
        };
        let keys = keys
            .map_err(|fault| problems.push(fault.at(format!("{key}.ticket_keys"))))
            .ok()
            .or(old_keys);

        if old.is_none() && problems.len() > problems_before {
            return None;
        }
        if clients.is_none() && tls.client_auth.is_some() {
            // Whoever is to be asked for a certificate is never let in without.
            return old.cloned();
        }
        let (ticket_keys, ticket_keys_open) = keys?;
        let new = Parts {
            shown,
            clients,
            ticket_keys,
            ticket_keys_open,
        };
        match old.filter(|old| new.are_those_of(old)) {
            Some(old) => Some(Arc::clone(old)),
            None => match new.build(listener, tls, provider) {
                Ok(built) => Some(Arc::new(built)),
                Err(fault) => {
                    problems.push(fault.at(key));
                    old.cloned()
                }
            },
        }
    }

    /// What the operator should know of it, whatever the clock says.
    pub(super) fn remarks(&self) -> impl Iterator<Item = &str> {
        let keys = self
            .ticket_keys_open
            .then_some("every user of this host may read the file of `ticket_keys` (chmod o-r)");
        let shown = self.shown.iter().flat_map(|identity| &identity.remarks);
        let clients = self.clients.iter().flat_map(|clients| &clients.remarks);
        shown.chain(clients).map(String::as_str).chain(keys)
    }
}

struct Parts {
    shown: Shown,
    clients: Option<Arc<ClientTrust>>,
    ticket_keys: Arc<TicketKeys>,
    ticket_keys_open: bool,
}

impl Parts {
    fn are_those_of(&self, old: &ListenerTls) -> bool {
        let same_clients = match (&self.clients, &old.clients) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (new, old) => new.is_none() && old.is_none(),
        };
        same_clients
            && Arc::ptr_eq(&self.ticket_keys, &old.ticket_keys)
            && self.ticket_keys_open == old.ticket_keys_open
            && same(&self.shown, &old.shown)
    }

    fn build(
        self,
        listener: &Listener,
        tls: &Tls,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ListenerTls, Fault> {
        let certificates = shown::by_name(&self.shown)
            .ok_or_else(|| Fault::new("there is no certificate to show"))?;
        let certificates = Arc::new(certificates);
        let versions: &[_] = match tls.min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(versions)
            .map_err(|error| Fault::new(format!("TLS cannot be spoken: {error}")))?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = tls
            .alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        // A cache of sessions would be one lock for all workers; tickets need none.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Ticketer::new(
            Arc::clone(&self.ticket_keys),
            binding(&listener.name, self.clients.as_deref()),
        ));
        config.send_tls13_tickets = TICKETS;
        // Whoever records early data can send it again (RFC 8446 §8).
        config.max_early_data_size = 0;
        let termination = Termination {
            config: Arc::new(config),
            certificates,
            refuses_unknown_names: tls.unknown_name == UnknownName::Refuse,
            clients: self.clients.as_ref().map(|clients| clients.clients()),
        };
        Ok(ListenerTls {
            termination: Arc::new(termination),
            shown: self.shown,
            ticket_keys: self.ticket_keys,
            ticket_keys_open: self.ticket_keys_open,
            clients: self.clients,
        })
    }
}

/// What a ticket is bound to: the listener, and what it asks of clients.
fn binding(listener: &str, clients: Option<&ClientTrust>) -> Digest {
    let clients = clients.map_or(&[][..], |clients| &clients.digest.0);
    Digest::of([listener.as_bytes(), clients])
}

fn same(new: &[Arc<Identity>], old: &[Arc<Identity>]) -> bool {
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| Arc::ptr_eq(new, old))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ringgate_config::{ClientAuth, ClientAuthMode, Plan};
    use rustls::ClientConfig;

    use super::*;
    use crate::testing::Directory;
    use crate::tls::testing::{Authority, client, handshake, leaf, tls_plan};
    use crate::tls::{Material, load};

    fn server(material: &Material) -> Arc<ServerConfig> {
        Arc::clone(&material.termination(0).unwrap().config)
    }

    fn loaded(plan: &Plan) -> Material {
        load(plan, 1, SystemTime::now()).unwrap()
    }

    /// A plan whose listener asks clients for certificates of an authority, which is written to `ca.pem`.
    fn asking(folder: &Path, files: &Directory, clients: &Authority) -> Plan {
        fs::write(files.path("ca.pem"), &clients.pem).unwrap();
        let mut plan = tls_plan(folder);
        let tls = plan.listeners[0].tls.as_mut().unwrap();
        tls.client_auth = Some(ClientAuth {
            ca: files.path("ca.pem"),
            mode: ClientAuthMode::Require,
            crl: None,
        });
        plan
    }

    #[test]
    fn a_client_gets_the_certificate_of_the_name_it_asks_for_and_resumes_by_a_ticket() {
        let directory = Directory::new();
        let root = Authority::new("root");
        let (a, b) = (
            root.sign(leaf(&["a.example"])),
            root.sign(leaf(&["*.b.example", "a.example"])),
        );
        a.write(&directory.path(""), "a");
        b.write(&directory.path(""), "b");
        let mut plan = tls_plan(&directory.path(""));
        plan.listeners[0].tls.as_mut().unwrap().alpn = vec!["h2".to_owned()];
        let material = loaded(&plan);
        for (name, expected) in [("a.example", &a), ("www.b.example", &b)] {
            let client = client(&root.certificate, None);
            let mut with_alpn = client.as_ref().clone();
            with_alpn.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
            let with_alpn = Arc::new(with_alpn);
            let first = handshake(&with_alpn, &server(&material), name).unwrap();
            assert_eq!(first.certificate, expected.certificate);
            assert_eq!(first.alpn.as_deref(), Some(&b"h2"[..]));
            assert!(!first.resumed);
            assert!(
                handshake(&with_alpn, &server(&material), name)
                    .unwrap()
                    .resumed
            );
        }
    }

    #[test]
    fn the_oldest_version_is_the_one_that_was_asked_for() {
        let directory = Directory::new();
        let root = Authority::new("root");
        root.sign(leaf(&["a.example"]))
            .write(&directory.path(""), "a");
        let mut plan = tls_plan(&directory.path(""));
        let old = ClientConfig::builder_with_provider(Arc::new(crate::tls::provider()))
            .with_protocol_versions(&[&TLS12])
            .unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.certificate.clone()).unwrap();
        let old = Arc::new(old.with_root_certificates(roots).with_no_client_auth());
        let material = loaded(&plan);
        assert!(handshake(&old, &server(&material), "a.example").is_ok());
        assert!(
            handshake(&old, &server(&material), "a.example")
                .unwrap()
                .resumed
        );
        plan.listeners[0].tls.as_mut().unwrap().min_version = TlsVersion::V1_3;
        assert!(handshake(&old, &server(&loaded(&plan)), "a.example").is_err());
    }

    #[test]
    fn a_session_is_not_resumed_elsewhere_nor_when_other_clients_are_asked_for() {
        let (certs, files) = (Directory::new(), Directory::new());
        let (root, clients) = (Authority::new("root"), Authority::new("clients"));
        root.sign(leaf(&["a.example"])).write(&certs.path(""), "a");
        let plan = asking(&certs.path(""), &files, &clients);
        let client = client(&root.certificate, Some(&clients.sign(leaf(&["client"]))));
        let material = loaded(&plan);
        let resumes = |material: &Material| {
            handshake(&client, &server(material), "a.example").map(|outcome| outcome.resumed)
        };
        assert_eq!(resumes(&material), Ok(false));
        assert_eq!(resumes(&material), Ok(true));

        // Certificates that are renewed do not end sessions.
        root.sign(leaf(&["a.example"])).write(&certs.path(""), "a");
        let (renewed, problems) = material.reread(&plan, SystemTime::now());
        assert!(problems.is_empty() && !renewed.is(&material));
        assert_eq!(resumes(&renewed), Ok(true));

        // Other authorities do.
        let others = Authority::new("others");
        fs::write(
            files.path("ca.pem"),
            format!("{}{}", clients.pem, others.pem),
        )
        .unwrap();
        let (asking_others, _) = renewed.reread(&plan, SystemTime::now());
        assert_eq!(resumes(&asking_others), Ok(false));
        fs::write(files.path("ca.pem"), &others.pem).unwrap();
        let (refusing, _) = asking_others.reread(&plan, SystemTime::now());
        assert!(resumes(&refusing).is_err());
    }

    #[test]
    fn what_goes_bad_stays_as_it_was_and_nobody_is_let_in_without_a_certificate() {
        let (certs, files) = (Directory::new(), Directory::new());
        let (root, clients) = (Authority::new("root"), Authority::new("clients"));
        root.sign(leaf(&["a.example"])).write(&certs.path(""), "a");
        let plan = asking(&certs.path(""), &files, &clients);
        let nobody = client(&root.certificate, None);
        let material = loaded(&plan);
        fs::write(files.path("ca.pem"), "").unwrap();
        let (after, problems) = material.reread(&plan, SystemTime::now());
        assert!(after.is(&material));
        assert_eq!(problems[0].key, "listeners.web.tls.client_auth.ca");
        assert!(handshake(&nobody, &server(&after), "a.example").is_err());
    }
}
