//! The mail of an invitation.

use std::time::Duration;

use kernel::job::{Job, JobCx, JobResult};
use kernel::language::Language;
use mail::{Mailer, Recipient};
use serde::{Deserialize, Serialize};

use crate::invitations::{self, InvitationId};

/// Sends an invitation for the `sent`-th time, unless it was sent again, accepted or cancelled since.
#[derive(Debug, Serialize, Deserialize)]
pub struct SendInvitation {
    pub invitation_id: InvitationId,
    pub sent: i32,
}

impl Job for SendInvitation {
    const NAME: &'static str = "identity.send_invitation";
    const QUEUE: &'static str = mail::QUEUE;
    const MAX_ATTEMPTS: i32 = mail::MAX_ATTEMPTS;

    fn unique_key(&self) -> Option<String> {
        Some(format!("{} {}", self.invitation_id, self.sent))
    }

    async fn run(self, cx: JobCx) -> JobResult {
        let mut tx = cx.tenant_tx().await?;
        let found = sqlx::query!(
            r#"select i.email, i.role, i.language, i.expires_at, p.first_name || ' ' || p.last_name as "inviter!",
                      c.name as company
                 from invitations i join company_people() p on p.user_id = i.invited_by join companies c using (tenant_id)
                where i.id = $1 and i.sent = $2 and i.state = 'pending'"#,
            self.invitation_id as _,
            self.sent
        );
        let found = found.fetch_optional(&mut *tx).await?;
        drop(tx);
        let Some(invitation) = found else { return Ok(()) };
        let left = invitation.expires_at.0.duration_since(cx.app.clock.now());
        let Ok(expires_in) = Duration::try_from(left) else {
            return Ok(());
        };
        let mailer = cx.app.part::<Mailer>()?;
        let token = invitations::token(&cx.app.keys, self.invitation_id, self.sent);
        let letter = mail::Invitation {
            link: mailer.link(&format!("/account/accept-invitation#token={token}")),
            inviter: invitation.inviter.into(),
            company: invitation.company.into(),
            role: invitation.role.into(),
            expires_in,
        };
        let to = Recipient {
            address: invitation.email,
            name: String::new(),
            language: Language::of_tag(&invitation.language).unwrap_or_default(),
        };
        mailer.send(&cx, &to, &letter).await
    }
}
