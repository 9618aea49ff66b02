//! Who changes something, and from where: what the audit trail records of every transaction.
//!
//! It travels with the task, not through arguments, so that no handler has to pass it on: the scope of a
//! request, a worker's run of a job and a command each set it around their work.

use std::net::IpAddr;

use http::Extensions;
use uuid::Uuid;

use crate::caller::{Caller, Cause, UserCaller};
use crate::trace::TraceContext;

/// Longest part of the setting, in characters.
const MAX_CHARS: usize = 128;

tokio::task_local! {
    static CURRENT: Origin;
}

/// Who acts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Actor {
    /// The program itself.
    #[default]
    System,
    /// Somebody who has not signed in.
    Anonymous,
    User(Uuid),
    /// A machine, by its API key.
    Key(Uuid),
    /// A background job, and the user who caused it.
    Job {
        name: String,
        user: Option<Uuid>,
    },
    /// Somebody at the command line.
    Command(String),
}

/// Who acts, from which address, in which request: in the audit trail of everything that is changed meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub actor: Actor,
    /// The client's address.
    pub address: Option<IpAddr>,
    pub request_id: Option<String>,
    /// What jobs that are enqueued meanwhile go on with.
    pub trace: Option<TraceContext>,
}

impl Origin {
    /// Of the work that this task does.
    pub fn current() -> Origin {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Of a request, as its extensions tell.
    pub fn of(request: &Extensions) -> Origin {
        let user = || request.get::<UserCaller>().map(|user| Actor::User(user.user_id));
        let actor = request.get::<Caller>().map(Caller::actor).or_else(user);
        let cause = request.get::<Cause>();
        Origin {
            actor: actor.unwrap_or(Actor::Anonymous),
            address: cause.and_then(|cause| cause.address),
            request_id: cause.and_then(|cause| cause.request_id.clone()),
            trace: cause.and_then(|cause| cause.trace.clone()),
        }
    }

    /// What it is known by in logs and traces.
    pub(crate) fn cause(self) -> Cause {
        Cause {
            request_id: self.request_id,
            address: self.address,
            trace: self.trace,
        }
    }

    /// Does the work with this origin. Tasks that it spawns do not inherit it.
    pub async fn during<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The same where it says who acts, else as this caller.
    #[must_use]
    pub(crate) fn or_by(self, caller: &Caller) -> Origin {
        match self.actor {
            Actor::System | Actor::Anonymous => Origin {
                actor: caller.actor(),
                ..self
            },
            _ => self,
        }
    }

    /// The value of the setting `app.origin`: kind, id, name, address and request, with `|` between. Nothing
    /// in it needs quoting in SQL.
    pub(crate) fn setting(&self) -> String {
        let (kind, id, name) = match &self.actor {
            Actor::System => ("system", None, ""),
            Actor::Anonymous => ("anonymous", None, ""),
            Actor::User(id) => ("user", Some(*id), ""),
            Actor::Key(id) => ("key", Some(*id), ""),
            Actor::Job { name, user } => ("job", *user, name.as_str()),
            Actor::Command(name) => ("command", None, name.as_str()),
        };
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        let address = self.address.map(|ip| ip.to_string()).unwrap_or_default();
        let request = self.request_id.as_deref().unwrap_or_default();
        format!("{kind}|{id}|{}|{address}|{}", harmless(name), harmless(request))
    }
}

impl Caller {
    /// Who acts with this caller's rights: a job's, without a user, is the program.
    pub(crate) fn actor(&self) -> Actor {
        match self.api_key {
            Some(key) => Actor::Key(key),
            None if self.user.user_id.is_nil() => Actor::System,
            None => Actor::User(self.user.user_id),
        }
    }
}

/// Only what can neither end a part of the setting nor the string that it stands in.
fn harmless(text: &str) -> String {
    let known = |c: char| c.is_ascii_alphanumeric() || " ._:@/-".contains(c);
    text.chars()
        .take(MAX_CHARS)
        .map(|c| if known(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_has_five_parts_whatever_stands_in_them() {
        let id = Uuid::from_u128(7);
        let origin = Origin {
            actor: Actor::Job {
                name: "a'; drop table x; --|b".to_owned(),
                user: Some(id),
            },
            address: Some(IpAddr::from([10, 0, 0, 1])),
            request_id: Some("r\\'1\n|é".to_owned()),
            trace: None,
        };
        assert_eq!(
            origin.setting(),
            format!("job|{id}|a__ drop table x_ --_b|10.0.0.1|r__1___")
        );
        assert_eq!(Origin::default().setting(), "system||||");
        let long = Origin {
            actor: Actor::Command("x".repeat(1000)),
            ..Origin::default()
        };
        assert!(long.setting().len() < 200);
    }

    #[tokio::test]
    async fn it_holds_during_the_work_and_no_longer() {
        let command = Origin {
            actor: Actor::Command("test".to_owned()),
            ..Origin::default()
        };
        let seen = command.clone().during(async { Origin::current() }).await;
        assert_eq!(seen, command);
        assert_eq!(Origin::current(), Origin::default());
    }
}
