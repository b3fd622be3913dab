//! Waiting for a condition, with a deadline: the only place that sleeps.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Long, so that a busy
/// machine fails no test; `WALKER_TEST_TIMEOUT` is in seconds.
pub fn timeout() -> Duration {
    let seconds = env_number("WALKER_TEST_TIMEOUT", 120);
    Duration::from_secs(seconds)
}

/// Asks `probe` until it answers, or until `limit` has passed.
pub fn poll_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Asks `probe` until it answers; a test that waits in vain fails, saying for
/// `what` it waited.
pub fn poll_until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll_for(timeout(), probe)
        .unwrap_or_else(|| panic!("waited {:?} in vain for {what}", timeout()))
}

/// A number from the environment, or its default.
pub fn env_number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not \"{text}\"")),
        _ => default,
    }
}
