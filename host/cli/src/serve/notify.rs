//! What a supervisor that started the process is told (`sd_notify`): nothing where there is none.

#[cfg(target_os = "linux")]
use sd_notify::NotifyState;

/// It serves, by the configuration as it was last read.
pub(super) fn ready() {
    #[cfg(target_os = "linux")]
    tell(&[NotifyState::Ready, NotifyState::Status("serves")]);
}

/// It reads its configuration.
pub(super) fn reloading() {
    #[cfg(target_os = "linux")]
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now, NotifyState::Status("reads its configuration")]);
    }
}

/// It takes no more requests.
pub(super) fn stopping() {
    #[cfg(target_os = "linux")]
    tell(&[NotifyState::Stopping, NotifyState::Status("answers what is under way")]);
}

#[cfg(target_os = "linux")]
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor can't be told");
    }
}
