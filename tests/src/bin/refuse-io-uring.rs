//! `refuse-io-uring ERRNO COMMAND…`: runs a command under a seccomp filter that answers `io_uring_setup` with an
//! error, as container profiles do. It never touches any other system call.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some((errno, command)) = args
        .next()
        .and_then(|errno| Some((errno.parse().ok()?, args.next()?)))
    else {
        eprintln!("usage: refuse-io-uring ERRNO COMMAND…");
        return ExitCode::from(2);
    };
    let filter: BpfProgram = SeccompFilter::new(
        [(libc::SYS_io_uring_setup, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        target_arch(),
    )
    .and_then(TryInto::try_into)
    .expect("a filter of one system call is valid");
    apply_filter(&filter).expect("a process may restrict itself");
    let failure = Command::new(&command).args(args).exec();
    eprintln!("{command}: {failure}");
    ExitCode::FAILURE
}

fn target_arch() -> TargetArch {
    std::env::consts::ARCH
        .try_into()
        .expect("seccomp knows this architecture")
}
