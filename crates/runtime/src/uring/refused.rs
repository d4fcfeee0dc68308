//! Why io_uring cannot be used here, and the way out, in words for an operator.

use std::fmt;
use std::io;

use nix::libc;

/// The step of registering a ring of provided buffers.
pub(super) const PROVIDED: &str = "registering provided buffers";

/// The kernel, or what stands before it, refused io_uring.
#[derive(Debug)]
pub struct Refused {
    step: &'static str,
    error: io::Error,
    /// `kernel.io_uring_disabled`, where it exists (since 6.6) and can be read.
    disabled: Option<u8>,
}

impl Refused {
    pub(super) fn new(step: &'static str, error: io::Error) -> Self {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
            .ok()
            .and_then(|text| text.trim().parse().ok());
        Self {
            step,
            error,
            disabled,
        }
    }

    /// The cause and the way out.
    fn explanation(&self) -> &'static str {
        match (self.error.raw_os_error(), self.disabled) {
            (Some(libc::EPERM), Some(2)) => {
                "the sysctl kernel.io_uring_disabled=2 forbids it to every process; \
                 an administrator can allow it with `sysctl kernel.io_uring_disabled=0`"
            }
            (Some(libc::EPERM), Some(1)) => {
                "the sysctl kernel.io_uring_disabled=1 forbids it to processes outside the group in \
                 kernel.io_uring_group; run in that group, or `sysctl kernel.io_uring_disabled=0`"
            }
            (Some(libc::EPERM | libc::EACCES), _) => {
                "a seccomp filter refuses it, as the default profiles of Docker and containerd do; \
                 allow io_uring_setup, io_uring_enter and io_uring_register in the profile \
                 (systemd: SystemCallFilter=@aio)"
            }
            (Some(libc::ENOSYS), _) => {
                "the kernel has no io_uring, or a seccomp filter hides it; \
                 use Linux 6.1 or newer and allow io_uring_setup, io_uring_enter and io_uring_register"
            }
            (Some(libc::ENOMEM), _) => {
                "memory for the ring cannot be locked; raise the limit \
                 (`ulimit -l`, systemd: LimitMEMLOCK=64M) or run fewer workers"
            }
            (Some(libc::EMFILE | libc::ENFILE), _) => {
                "no descriptor is left for it; raise the limit (`ulimit -n`, systemd: LimitNOFILE=)"
            }
            (Some(libc::EINVAL), _) if self.step == PROVIDED => {
                "this kernel refuses every buffer ring, as Ubuntu's 6.8.0-136 and its followers do \
                 (Launchpad 2162843); use another kernel, such as the HWE one"
            }
            (Some(libc::EINVAL), _) => {
                "the kernel is too old or its io_uring is incomplete; Linux 6.1 or newer is needed"
            }
            _ => "Linux 6.1 or newer with io_uring is needed",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, error, .. } = self;
        write!(
            f,
            "io_uring cannot be used here: {step} failed ({error}): {}",
            self.explanation()
        )
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_its_cause_and_the_way_out() {
        for (errno, disabled, cause, way_out) in [
            (libc::EPERM, Some(2), "io_uring_disabled=2", "sysctl"),
            (libc::EPERM, Some(1), "io_uring_group", "sysctl"),
            (libc::EPERM, Some(0), "seccomp", "profile"),
            (libc::EPERM, None, "seccomp", "profile"),
            (libc::ENOSYS, None, "seccomp", "6.1"),
            (libc::ENOMEM, Some(0), "locked", "LimitMEMLOCK"),
            (libc::EMFILE, Some(0), "descriptor", "LimitNOFILE"),
            (libc::EINVAL, Some(0), "too old", "6.1"),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            let text = Refused {
                step: "io_uring_setup",
                error,
                disabled,
            }
            .to_string();
            assert!(
                text.contains(cause) && text.contains(way_out),
                "{errno}: {text}"
            );
        }
    }
}
