//! What a company's plan grants, as operators set it; companies cannot.

use std::str::FromStr;

use kernel::app::App;
use kernel::prelude::*;
use serde::Serialize;
use uuid::Uuid;

/// A limit of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// What the installation grants everybody.
    Default,
    Bytes(i64),
}

impl Limit {
    /// A limit of the largest file, for the command line: as others are written, at least 1 byte.
    ///
    /// # Errors
    /// What was expected.
    pub fn of_file(text: &str) -> Result<Limit, &'static str> {
        match text.parse()? {
            Limit::Bytes(0) => {
                Err("must be at least 1 byte; to take no files at all, give no room: --bytes 0")
            }
            limit => Ok(limit),
        }
    }

    fn bytes(self) -> Option<i64> {
        match self {
            Limit::Default => None,
            Limit::Bytes(bytes) => Some(bytes),
        }
    }
}

impl FromStr for Limit {
    type Err = &'static str;

    /// `default`, or bytes with an optional unit: `500000000`, `500MB`, `10GiB`.
    fn from_str(text: &str) -> Result<Limit, &'static str> {
        const UNITS: [(&str, i64); 6] = [
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("KB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
        ];
        if text == "default" {
            return Ok(Limit::Default);
        }
        let of_unit = |(unit, bytes)| text.strip_suffix(unit).map(|number| (number, bytes));
        let (number, unit) = UNITS.into_iter().find_map(of_unit).unwrap_or((text, 1));
        let bytes = number.trim().parse().ok().filter(|number: &i64| *number >= 0);
        bytes
            .and_then(|bytes| bytes.checked_mul(unit))
            .map(Limit::Bytes)
            .ok_or("must be `default` or bytes: 500000000, 500MB, 10GiB")
    }
}

/// What changes; `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanChange {
    /// Bytes that the company may keep.
    pub quota: Option<Limit>,
    /// Bytes of its largest file, at least 1; never above what the module takes.
    pub max_file: Option<Limit>,
}

/// What a company may keep, and what is taken of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// `None`: what the installation grants everybody.
    pub quota_bytes: Option<i64>,
    /// `None`: what the module takes.
    pub max_file_bytes: Option<i64>,
    pub used_bytes: i64,
    pub reserved_bytes: i64,
    pub open_uploads: i32,
}

/// Changes a company's plan, or only looks; `None` without such a company. A quota below what is kept deletes
/// nothing: uploads are refused until there is room.
///
/// # Errors
/// Those of the database.
#[expect(
    clippy::disallowed_methods,
    reason = "an operator grants what the company cannot grant itself"
)]
pub async fn change_plan(app: &App, company: Uuid, change: PlanChange) -> Result<Option<Plan>> {
    let mut tx = app.db.system().await?;
    let plan = sqlx::query_as!(
        Plan,
        r#"insert into storage_usage as usage (tenant_id, quota_bytes, max_file_bytes)
           select tenant_id, $2, $3 from companies where tenant_id = $1
               on conflict (tenant_id) do update
              set quota_bytes = case when $4 then excluded.quota_bytes else usage.quota_bytes end,
                  max_file_bytes = case when $5 then excluded.max_file_bytes else usage.max_file_bytes end
        returning quota_bytes, max_file_bytes, used_bytes, reserved_bytes, open_uploads"#,
        company,
        change.quota.and_then(Limit::bytes),
        change.max_file.and_then(Limit::bytes),
        change.quota.is_some(),
        change.max_file.is_some()
    );
    let plan = plan.fetch_optional(&mut *tx).await?;
    tx.commit().await?;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_people_write_them() {
        for (text, limit) in [
            ("default", Limit::Default),
            ("0", Limit::Bytes(0)),
            ("1500", Limit::Bytes(1500)),
            ("500MB", Limit::Bytes(500_000_000)),
            ("10 GiB", Limit::Bytes(10 << 30)),
        ] {
            assert_eq!(text.parse(), Ok(limit), "{text}");
        }
        assert_eq!(Limit::of_file("1"), Ok(Limit::Bytes(1)));
        assert_eq!(Limit::of_file("default"), Ok(Limit::Default));
        Limit::of_file("0KiB").expect_err("no file has no bytes");
        for text in ["", "-1", "1.5GB", "10G", "GiB", "9999999999GiB"] {
            text.parse::<Limit>().expect_err(text);
        }
    }
}
