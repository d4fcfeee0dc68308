//! Notices that something happens where the files of the configuration lie. It watches folders, never files, for a file is mostly
//! changed by putting another one into its place; it says neither what happened nor whether it matters.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use ringgate_config::{Certificates, Plan};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::folder;

/// A change is over when nothing has happened for so long …
const QUIET: Duration = Duration::from_millis(300);

/// … but at the latest after this.
const RESTLESS_MAX: Duration = Duration::from_secs(3);

/// A watch over the folders of files, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Watch {
    happened: Arc<Notify>,
    _watcher: Option<RecommendedWatcher>,
    /// Why not everything is watched.
    pub(crate) error: Option<notify::Error>,
}

impl Watch {
    /// Watches a plan's files of TLS from now on. What cannot be watched is found by looking every now and then.
    pub(super) fn begin(plan: &Plan) -> Watch {
        Watch::over(Watched::of(plan))
    }

    /// The same for these files.
    pub(crate) fn of_files<'a>(files: impl IntoIterator<Item = &'a Path>) -> Watch {
        let mut watched = Watched::default();
        for file in files {
            watched.add_file(file);
        }
        Watch::over(watched)
    }

    fn over(watched: Watched) -> Watch {
        let happened = Arc::new(Notify::new());
        let tell = Arc::clone(&happened);
        let folders = watched.folders.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| watched.may_change_by(&event)) {
                tell.notify_one();
            }
        });
        let (watcher, error) = match watcher {
            Ok(mut watcher) => {
                let error = watch_all(&mut watcher, &folders).err();
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
    pub(crate) async fn settled(&self, limit: Duration) {
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

/// What the files are, and where they lie.
#[derive(Debug, Default)]
struct Watched {
    /// The folders in which something that comes or goes may be one of the files.
    folders: BTreeSet<PathBuf>,
    /// Those of them in which every file may be one.
    whole: BTreeSet<PathBuf>,
    /// The files that are named, by that name and by that of what it leads to.
    files: BTreeSet<PathBuf>,
}

impl Watched {
    fn of(plan: &Plan) -> Watched {
        let mut watched = Watched::default();
        for tls in plan
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref())
        {
            match &tls.certs {
                Certificates::Folder(path) => watched.add_folder(path),
                Certificates::List(pairs) => {
                    for pair in pairs {
                        watched.add_file(&pair.cert);
                        watched.add_file(&pair.key);
                    }
                }
            }
            let auth = tls.client_auth.as_ref();
            let auth_files = auth
                .into_iter()
                .flat_map(|auth| std::iter::once(&auth.ca).chain(&auth.crl));
            for file in auth_files.chain(&tls.ticket_keys) {
                watched.add_file(file);
            }
        }
        for tls in plan.pools.iter().filter_map(|pool| pool.tls.as_ref()) {
            let identity = tls.identity.iter().flat_map(|pair| [&pair.cert, &pair.key]);
            for file in tls.ca.iter().chain(identity) {
                watched.add_file(file);
            }
        }
        watched
    }

    fn add_folder(&mut self, path: &Path) {
        let inner = folder::folders(path);
        self.folders.extend(inner.iter().cloned());
        self.whole.extend(inner);
        // The folder itself may be exchanged.
        self.folders.extend(path.parent().map(Path::to_owned));
    }

    /// The folder that names a file, and where it is a link, the one that holds what it leads to.
    fn add_file(&mut self, file: &Path) {
        let real = fs::canonicalize(file).ok();
        for file in std::iter::once(file).chain(real.as_deref()) {
            self.folders.extend(file.parent().map(Path::to_owned));
            self.files.insert(file.to_owned());
        }
    }

    /// Whether one of the files may be another after that.
    fn may_change_by(&self, event: &notify::Event) -> bool {
        match event.kind {
            EventKind::Modify(ModifyKind::Data(_))
            | EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                // A log may lie beside the files, and is written to all the time.
                event.paths.is_empty() || event.paths.iter().any(|path| self.may_be_one(path))
            }
            // Reading is no change, and it is what follows a change.
            EventKind::Access(_) => false,
            _ => true,
        }
    }

    fn may_be_one(&self, path: &Path) -> bool {
        let in_whole = || {
            path.parent()
                .is_some_and(|folder| self.whole.contains(folder))
        };
        self.files.contains(path) || in_whole()
    }
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

#[cfg(test)]
mod tests {
    use notify::Event;
    use notify::event::{CreateKind, DataChange};

    use super::*;

    #[test]
    fn only_what_may_be_one_of_the_files_counts_when_it_is_written_to() {
        let mut watched = Watched::default();
        watched.add_folder(Path::new("/none/certs"));
        watched.add_file(Path::new("/none/ca.pem"));
        let check = |kind: EventKind, path: &str, expected: bool| {
            let event = Event::new(kind).add_path(path.into());
            assert_eq!(watched.may_change_by(&event), expected, "{event:?}");
        };
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let read = EventKind::Access(AccessKind::Open(AccessMode::Any));
        for kind in [data, closed] {
            check(kind, "/none/certs/a.pem", true);
            check(kind, "/none/ca.pem", true);
            check(kind, "/none/access.log", false);
        }
        check(EventKind::Create(CreateKind::Any), "/none/..data", true);
        check(read, "/none/certs/a.pem", false);
    }
}
