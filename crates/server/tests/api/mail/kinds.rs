//! What every job that sends a mail has in common.

/// A mail server may be away for hours: the queue's usual eight attempts take ten minutes.
#[test]
fn jobs_that_send_mail_have_patience() {
    for kind in ::server::jobs().0 {
        if kind.queue == ::mail::QUEUE {
            assert!(
                kind.max_attempts >= ::mail::MAX_ATTEMPTS,
                "{} has {}",
                kind.name,
                kind.max_attempts
            );
        }
    }
}
