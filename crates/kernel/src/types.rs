//! Values as they travel: SQL on one side, JSON on the other.

use std::fmt;

use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type as SchemaType};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// An instant; `timestamptz` in SQL, RFC 3339 in UTC in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Timestamp(pub jiff::Timestamp);

/// Of the years that RFC 3339 can write, all of which PostgreSQL knows.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let instant = jiff::Timestamp::deserialize(deserializer)?;
        if (0..=9999).contains(&instant.to_zoned(TimeZone::UTC).year()) {
            Ok(Timestamp(instant))
        } else {
            Err(de::Error::custom("a year from 0 to 9999"))
        }
    }
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        <jiff_sqlx::Timestamp as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Timestamp {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("_timestamptz")
    }
}

impl<'r> Decode<'r, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Timestamp(
            <jiff_sqlx::Timestamp as Decode<Postgres>>::decode(value)?.to_jiff(),
        ))
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        use jiff_sqlx::ToSqlx;
        <jiff_sqlx::Timestamp as Encode<Postgres>>::encode_by_ref(&self.0.to_sqlx(), buf)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .examples(["2026-11-23T15:04:05.123456Z"])
            .into()
    }
}
impl ToSchema for Timestamp {}

/// An amount of money: exact, not negative, at most 13 digits before the point and 2 after it.
/// `numeric(15,2)` in SQL; a decimal string such as `"12500.00"` in JSON, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Money(Decimal);

/// Smallest amount that does not fit: 10^13.
const MONEY_LIMIT: Decimal = Decimal::from_parts(1_316_134_912, 2328, 0, false, 0);

impl Money {
    /// `Money::from_cents(1_250_000)` is 12 500.00.
    pub fn from_cents(cents: i64) -> Money {
        Money(Decimal::new(cents, 2))
    }

    /// The amount in hundredths.
    pub fn cents(self) -> i64 {
        let cents = self.0 * Decimal::ONE_HUNDRED;
        i64::try_from(cents.trunc().mantissa() / 10_i128.pow(cents.trunc().scale())).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

impl std::str::FromStr for Money {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Money, Self::Err> {
        const EXPECTED: &str = "expected a decimal string such as \"12500.00\": not negative, at most 13 digits before and 2 after the point";
        let (whole, cents) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str, max| !s.is_empty() && s.len() <= max && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 13) || !digits(cents, 2) {
            return Err(EXPECTED);
        }
        let amount = Decimal::from_str_exact(text).map_err(|_| EXPECTED)?;
        if amount >= MONEY_LIMIT {
            Err(EXPECTED)
        } else {
            Ok(Money(amount))
        }
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Type<Postgres> for Money {
    fn type_info() -> PgTypeInfo {
        <Decimal as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Money {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Money(<Decimal as Decode<Postgres>>::decode(value)?))
    }
}

impl Encode<'_, Postgres> for Money {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <Decimal as Encode<Postgres>>::encode_by_ref(&self.0, buf)
    }
}

impl PartialSchema for Money {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::String)
            .pattern(Some(r"^[0-9]{1,13}(\.[0-9]{1,2})?$"))
            .description(Some("An exact amount as a decimal string"))
            .examples(["12500.00"])
            .into()
    }
}
impl ToSchema for Money {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_and_strict() {
        for (text, shown, cents) in [
            ("0", "0.00", 0),
            ("12500.5", "12500.50", 1_250_050),
            ("9999999999999.99", "9999999999999.99", 999_999_999_999_999),
        ] {
            let money: Money = text.parse().expect(text);
            assert_eq!((money.to_string().as_str(), money.cents()), (shown, cents));
            assert_eq!(Money::from_cents(cents), money);
        }
        for bad in [
            "",
            "-1",
            "1e3",
            "1.234",
            "NaN",
            "10000000000000",
            ".5",
            "5.",
            "1,5",
            "+1",
            " 1",
            "1_000",
        ] {
            assert!(bad.parse::<Money>().is_err(), "{bad}");
        }
        assert!(
            serde_json::from_str::<Money>("12.5").is_err(),
            "a JSON number is a float"
        );
    }
}
