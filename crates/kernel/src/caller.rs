//! Who is calling, as resolved by the authentication layer before any handler runs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::limit::Overrides;
use crate::trace::TraceContext;

/// A signed-in user, without a company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserCaller {
    pub user_id: Uuid,
    /// The session (refresh token family) that the access token belongs to.
    pub session_id: Uuid,
}

/// A signed-in user acting in a company of which he is an active member, or a machine with an API key
/// of the company.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Nil where no user calls: with an API key, or in the background.
    pub user: UserCaller,
    /// The API key that a machine calls with.
    pub api_key: Option<Uuid>,
    pub tenant_id: Uuid,
    pub role: &'static str,
    /// Permissions of the role or the key.
    pub grants: Arc<BTreeSet<&'static str>>,
    /// The company reads, and does not write.
    pub suspended: bool,
    /// What the company may ask more or less often than others.
    pub limits: Overrides,
}

impl Caller {
    /// Who is calling, for `created_by` and the like: the API key, or else the user.
    pub fn id(&self) -> Uuid {
        self.api_key.unwrap_or(self.user.user_id)
    }

    /// Whether the caller holds the permission.
    pub fn may(&self, permission: &str) -> bool {
        self.grants.contains(permission)
    }
}

/// What a request is known by in logs and traces; jobs carry it along.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    pub request_id: Option<String>,
    /// The client, as far as trusted proxies tell; none where nothing was listened on.
    pub address: Option<IpAddr>,
    /// The trace that it goes on: its own place in it, or where no traces are told, what the client sent.
    pub trace: Option<TraceContext>,
}
