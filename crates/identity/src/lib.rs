//! Who may do what: users, sessions, companies, memberships, roles, and the layer that resolves the
//! caller of every request.

mod acceptance;
mod access;
mod accounts;
mod api_keys;
mod callers;
mod client;
mod companies;
mod company_profile;
mod company_states;
mod contact;
mod email_changes;
mod email_tokens;
mod events;
mod invitation_mail;
mod invitations;
mod logo;
mod mail_requests;
mod mails;
mod me;
mod members;
mod memberships;
mod my_sessions;
mod names;
mod new_user;
mod operator;
mod pages;
mod password_change;
mod password_reset;
mod password_rules;
mod passwords;
mod purge;
mod registration;
mod roles;
mod selection;
mod sessions;
mod sign_in;
mod throttle;
mod tokens;
mod verification;

pub use access::{Access, EXEMPT, access_of, authenticate, authenticate_again};
pub use company_states::{CompanyState, CompanyStateChange, company_states, set_company_state};
pub use contact::nit_check_digit;
pub use names::names;
pub use passwords::Passwords;
pub use purge::{PurgeExpired, PurgeIdempotencyKeys, purge_expired};
pub use roles::{ROLES, grants, may, within};
pub use verification::verification_token;

use std::sync::Arc;

use kernel::app::App;
use kernel::changes::Changes;
use kernel::error::Code;
use kernel::module::Module;

use api_keys::ApiKeys;
use callers::Callers;
use operator::Operator;
use throttle::Throttle;
use tokens::Tokens;

pub(crate) const EMAIL_OR_PASSWORD_WRONG: Code =
    Code::new(401, "invalid-credentials", "E-mail or password is wrong");
pub(crate) const EMAIL_NOT_VERIFIED: Code = Code::new(
    403,
    "email-not-verified",
    "The e-mail address is not verified yet",
);
pub(crate) const USER_INACTIVE: Code = Code::new(403, "user-inactive", "The user is disabled");
pub(crate) const REFRESH_TOKEN_INVALID: Code = Code::new(
    401,
    "refresh-token-invalid",
    "The refresh token is unknown or expired",
);
pub(crate) const REFRESH_TOKEN_REUSED: Code = Code::new(
    401,
    "refresh-token-reused",
    "The refresh token was used before; the session is ended",
);
pub(crate) const EMAIL_TOKEN_INVALID: Code = Code::new(
    422,
    "email-token-invalid",
    "The token is unknown, used or expired",
);
pub(crate) const NIT_CHECK_DIGIT_WRONG: Code =
    Code::new(422, "nit-check-digit-wrong", "The NIT's check digit does not fit");

/// What identity keeps per process: key material, hashing slots, the cache of callers.
#[derive(Clone)]
pub struct Identity(Arc<Parts>);

struct Parts {
    tokens: Tokens,
    passwords: Passwords,
    callers: Callers,
    changes: Changes,
    api_keys: ApiKeys,
    operator: Operator,
    throttle: Throttle,
}

impl Identity {
    /// Builds the parts.
    pub fn new(app: &App) -> Identity {
        Identity(Arc::new(Parts {
            tokens: Tokens::new(app),
            passwords: Passwords::new(&app.config.auth),
            callers: Callers::new(app),
            changes: app.changes.clone(),
            api_keys: ApiKeys::new(app),
            operator: Operator::new(app),
            throttle: Throttle::new(app),
        }))
    }
}

/// The modules of this crate.
pub fn modules() -> Vec<Module> {
    vec![
        registration::module(),
        verification::module(),
        sign_in::module(),
        sessions::module(),
        my_sessions::module(),
        selection::module(),
        password_reset::module(),
        password_change::module(),
        email_changes::module(),
        me::module(),
        accounts::module(),
        companies::module(),
        mails::module(),
        mail_requests::module(),
        logo::module(),
        pages::module(),
        company_profile::module(),
        members::module(),
        invitations::module(),
        acceptance::module(),
        api_keys::module(),
        purge::module(),
        events::module(),
    ]
}
