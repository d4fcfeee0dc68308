//! Notices that something happens where the files of TLS lie. It watches folders, never files, for a file is mostly
//! changed by putting another one into its place; it says neither what happened nor whether it matters.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use ringgate_config::{Certificates, Plan};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::folder;

/// A change is over when nothing has happened for so long …
const QUIET: Duration = Duration::from_millis(300);

/// … but at the latest after this.
const RESTLESS_MAX: Duration = Duration::from_secs(3);

/// A watch over the folders of a plan's files, for as long as it lives.
#[derive(Debug)]
pub(super) struct Watch {
    happened: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
    /// Why not everything is watched.
    pub(super) error: Option<notify::Error>,
}

impl Watch {
    /// Watches from now on. What cannot be watched is found by looking every now and then.
    pub(super) fn begin(plan: &Plan) -> Watch {
        let happened = Arc::new(Notify::new());
        let tell = Arc::clone(&happened);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change, and it is what follows a change.
            if event.is_ok_and(|event| !is_reading(event.kind)) {
                tell.notify_one();
            }
        });
        let (watcher, error) = match watcher {
            Ok(mut watcher) => {
                let error = watch_all(&mut watcher, &folders(plan)).err();
                (Some(watcher), error)
            }
            Err(error) => (None, Some(error)),
        };
        Watch {
            happened,
            _watcher: watcher,
            error,
        }
    }

    /// Waits until something has happened and is over, for at most `limit` if nothing does.
    pub(super) async fn settled(&self, limit: Duration) {
        if timeout(limit, self.happened.notified()).await.is_err() {
            return;
        }
        let latest = Instant::now() + RESTLESS_MAX;
        while Instant::now() < latest {
            let quiet = (Instant::now() + QUIET).min(latest);
            if timeout_at(quiet, self.happened.notified()).await.is_err() {
                return;
            }
        }
    }
}

fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn watch_all(watcher: &mut RecommendedWatcher, folders: &BTreeSet<PathBuf>) -> notify::Result<()> {
    let mut outcome = Ok(());
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            outcome = Err(error);
        }
    }
    outcome
}

/// The folders in which a change may be one of a plan's files.
fn folders(plan: &Plan) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    for tls in plan
        .listeners
        .iter()
        .filter_map(|listener| listener.tls.as_ref())
    {
        match &tls.certs {
            Certificates::Folder(path) => {
                folders.extend(folder::folders(path));
                // The folder itself may be exchanged.
                folders.extend(path.parent().map(Path::to_owned));
            }
            Certificates::List(pairs) => {
                for pair in pairs {
                    add_file(&mut folders, &pair.cert);
                    add_file(&mut folders, &pair.key);
                }
            }
        }
        let auth = tls.client_auth.as_ref();
        let auth_files = auth
            .into_iter()
            .flat_map(|auth| std::iter::once(&auth.ca).chain(&auth.crl));
        for file in auth_files.chain(&tls.ticket_keys) {
            add_file(&mut folders, file);
        }
    }
    for tls in plan.pools.iter().filter_map(|pool| pool.tls.as_ref()) {
        let identity = tls.identity.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        for file in tls.ca.iter().chain(identity) {
            add_file(&mut folders, file);
        }
    }
    folders
}

/// The folder that names a file, and where it is a link, the one that holds what it leads to.
fn add_file(folders: &mut BTreeSet<PathBuf>, file: &Path) {
    let real = fs::canonicalize(file).ok();
    let folder_of = |file: &Path| file.parent().map(Path::to_owned);
    folders.extend(folder_of(file));
    folders.extend(real.as_deref().and_then(folder_of));
}
