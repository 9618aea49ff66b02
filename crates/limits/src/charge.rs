//! What a request is charged with.

use kernel::limit::Rate;

use crate::gcra::Quota;

/// Who is counted, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// Its place among the policies.
    pub policy: u16,
    /// A company, a user, a key or an address.
    pub who: u128,
}

/// One key, and how it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charge {
    pub key: Key,
    pub rate: Rate,
    pub quota: Quota,
    /// How far ahead of now it is, in microseconds: after this request if it was admitted, before it if not.
    pub ahead: i64,
}

impl Charge {
    pub fn new(key: Key, rate: Rate) -> Charge {
        Charge {
            key,
            rate,
            quota: rate.into(),
            ahead: 0,
        }
    }

    /// Whether one more request is admitted.
    pub fn is_admitted(&self) -> bool {
        self.quota.admits(self.ahead)
    }
}
