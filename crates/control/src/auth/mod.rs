//! Credentials as the slow half knows them: the files of tokens, users and keys that the configuration names, read and
//! checked before anything is bound and read again when they change, and keys that are fetched. It never decides who a
//! client is: it fills what the gateway's guards look at.

mod address;
mod fetch;
mod file;
pub mod issue;
mod schedule;
mod upkeep;

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ringgate_config::{Auth, Jwt, JwtKeys, Plan};
use ringgate_gateway::auth::{Guard, Handles, KeyRing, Keys};

use self::address::Address;
use self::fetch::Remote;
use self::file::{Contents, NamedFile};
use crate::tls::Problem;
use crate::tls::problem::Fault;

pub(crate) use self::upkeep::start;

/// The guards of a plan, and what they look at. A copy costs little: it shares everything.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    guards: Vec<(Auth, Arc<Guard>)>,
    files: Vec<Arc<NamedFile>>,
    remotes: Vec<Arc<Remote>>,
    remarks: Vec<String>,
}

impl Credentials {
    /// Reads every file of credentials that the plan names. Keys behind URLs are not fetched yet: until they are, nobody
    /// can be known by them.
    ///
    /// # Errors
    /// Every problem with them.
    pub fn read(plan: &Plan) -> Result<Credentials, Vec<Problem>> {
        let mut credentials = Credentials::default();
        let mut problems = Vec::new();
        for (key, auth) in named(plan) {
            if credentials.find(auth).is_none() {
                let handles = credentials.handles(&key, auth, &mut problems);
                let guard = Arc::new(Guard::new(auth, handles));
                credentials.guards.push((auth.clone(), guard));
            }
        }
        credentials.remark_misfits();
        match problems.is_empty() {
            true => Ok(credentials),
            false => Err(problems),
        }
    }

    /// The guard of that configuration. Equal ones share a guard.
    ///
    /// # Panics
    /// If the plan that the credentials were read for has no such configuration.
    pub fn guard(&self, auth: &Auth) -> Arc<Guard> {
        let guard = self.find(auth);
        Arc::clone(guard.expect("the credentials are of the same plan"))
    }

    /// What the operator should know of files that are good nevertheless.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.remarks.iter().map(String::as_str)
    }

    fn find(&self, auth: &Auth) -> Option<&Arc<Guard>> {
        let found = self.guards.iter().find(|(known, _)| known == auth);
        found.map(|(_, guard)| guard)
    }

    /// What the guard of that configuration, which stands at `key`, is to look at.
    fn handles(&mut self, key: &str, auth: &Auth, problems: &mut Vec<Problem>) -> Handles {
        let mut handles = Handles::default();
        if let Some(path) = &auth.tokens_file {
            let file = self.file(
                path,
                format!("{key}.tokens_file"),
                Contents::tokens,
                problems,
            );
            if let Contents::Tokens(tokens) = &file.contents {
                handles.tokens = Some(Arc::clone(tokens));
            }
        }
        if let Some(path) = &auth.users_file {
            let file = self.file(path, format!("{key}.users_file"), Contents::users, problems);
            if let Contents::Users(users) = &file.contents {
                handles.users = Some(Arc::clone(users));
            }
        }
        if let Some(jwt) = &auth.jwt {
            handles.keys = Some(self.ring(&format!("{key}.jwt"), jwt, problems));
        }
        handles
    }

    fn ring(&mut self, key: &str, jwt: &Jwt, problems: &mut Vec<Problem>) -> Arc<KeyRing> {
        let keys_key = format!("{key}.keys");
        let (url, ca) = match &jwt.keys {
            JwtKeys::File(path) => {
                let file = self.file(path, keys_key, Contents::keys, problems);
                return match &file.contents {
                    Contents::Keys(ring) => Arc::clone(ring),
                    _ => Arc::new(KeyRing::new(Keys::none())),
                };
            }
            JwtKeys::Url { url, ca, .. } => (url, ca),
        };
        if let Some(known) = self.remotes.iter().find(|remote| remote.keys == jwt.keys) {
            return Arc::clone(&known.ring);
        }
        let address = match Address::parse(url) {
            Ok(address) => address,
            Err(fault) => {
                problems.push(fault.at(keys_key));
                return Arc::new(KeyRing::new(Keys::none()));
            }
        };
        if address.is_secured() {
            let at = if ca.is_some() {
                format!("{key}.ca")
            } else {
                keys_key.clone()
            };
            let verifying = crate::tls::verifying(ca.as_deref());
            problems.extend(verifying.err().map(|fault: Fault| fault.at(at)));
        }
        let remote = Remote {
            key: keys_key,
            keys: jwt.keys.clone(),
            address,
            ring: Arc::new(KeyRing::new(Keys::none())),
        };
        let ring = Arc::clone(&remote.ring);
        self.remotes.push(Arc::new(remote));
        ring
    }

    /// The file at that path, read once however often it is named.
    fn file(
        &mut self,
        path: &Path,
        key: String,
        empty: fn() -> Contents,
        problems: &mut Vec<Problem>,
    ) -> Arc<NamedFile> {
        let contents = empty();
        let is_same =
            |file: &&Arc<NamedFile>| file.path == path && file.contents.is_like(&contents);
        if let Some(known) = self.files.iter().find(is_same) {
            return Arc::clone(known);
        }
        let file = Arc::new(NamedFile::new(path, key, contents));
        match file.reread() {
            Ok(read) => self.remarks.extend(read.remarks),
            Err(problem) => problems.push(problem),
        }
        self.files.push(Arc::clone(&file));
        file
    }

    /// Keys that are for other algorithms than the configuration believes.
    fn remark_misfits(&mut self) {
        let misfits: Vec<String> = self.misfits().collect();
        for misfit in misfits {
            if !self.remarks.contains(&misfit) {
                self.remarks.push(misfit);
            }
        }
    }

    /// A sentence for each configuration that has keys and none that fits.
    fn misfits(&self) -> impl Iterator<Item = String> {
        let jwts = self.guards.iter().filter_map(|(auth, _)| auth.jwt.as_ref());
        jwts.filter_map(|jwt| {
            let ring = self.ring_of(&jwt.keys)?;
            let keys = ring.load();
            let is_misfit = !keys.is_empty() && keys.count_for(&jwt.algorithms) == 0;
            is_misfit.then(|| {
                let algorithms = jwt.algorithms.join(", ");
                let keys = where_from(&jwt.keys);
                format!("no key of {keys} is for {algorithms}: no signed token is believed")
            })
        })
    }

    fn ring_of(&self, keys: &JwtKeys) -> Option<&Arc<KeyRing>> {
        if let JwtKeys::File(path) = keys {
            return self.files.iter().find_map(|file| match &file.contents {
                Contents::Keys(ring) if file.path == *path => Some(ring),
                _ => None,
            });
        }
        let remote = self.remotes.iter().find(|remote| remote.keys == *keys);
        remote.map(|remote| &remote.ring)
    }
}

/// Keys by the name that the configuration gives them.
fn where_from(keys: &JwtKeys) -> String {
    match keys {
        JwtKeys::File(path) => path.display().to_string(),
        JwtKeys::Url { url, .. } => url.clone(),
    }
}

/// Every configuration of a plan that asks who a client is, and the key that it stands at. What a route has from its
/// listener is found at the listener first.
fn named(plan: &Plan) -> Vec<(String, &Auth)> {
    let mut named = Vec::new();
    for listener in &plan.listeners {
        let Some(http) = &listener.http else { continue };
        let key = format!("listeners.{}", listener.name);
        named.extend(
            http.stages
                .auth
                .iter()
                .map(|auth| (format!("{key}.http.auth"), auth)),
        );
        for (number, route) in http.routes.iter().enumerate() {
            let auth = route.stages.auth.iter();
            named.extend(auth.map(|auth| (format!("{key}.routes[{number}].http.auth"), auth)));
        }
    }
    named
}

/// A place for what is read later.
fn swap<T: Default>() -> Arc<ArcSwap<T>> {
    Arc::new(ArcSwap::from_pointee(T::default()))
}

#[cfg(test)]
mod tests;
