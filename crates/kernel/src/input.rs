//! Request input that answers with problems: body, path and query.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use garde::Validate;
use http::header;
use http::request::Parts;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::{
    Error, FieldError, MALFORMED_JSON, MALFORMED_REQUEST, NOT_FOUND, QUERY_INVALID, Result,
    UNSUPPORTED_MEDIA_TYPE,
};
use crate::text::{is_invisible, turns_text};

/// Characters of a field's name that a pointer tells.
const LONGEST_NAME: usize = 100;

/// A JSON body, deserialized and validated. Types used here carry `deny_unknown_fields`.
pub struct Valid<T>(pub T);

impl<S, T> FromRequest<S> for Valid<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if !is_json(&request) {
            return Err(Error::new(&UNSUPPORTED_MEDIA_TYPE).detail("send application/json"));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| Error::new(&MALFORMED_REQUEST))?;
        let value: T = from_json(&bytes)?;
        value
            .validate()
            .map_err(|report| Error::invalid(field_errors(&report)))?;
        Ok(Valid(value))
    }
}

fn is_json(request: &Request) -> bool {
    let mut types = request.headers().get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let JsonObject(value) = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = pointer(&error.path().to_string());
        let cause = error.into_inner();
        match cause.classify() {
            serde_json::error::Category::Data => Error::invalid(vec![data_error(pointer, &cause)]),
            // serde_json calls null or a number where an enum is expected a syntax error.
            _ if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() => {
                Error::invalid(vec![FieldError::body(pointer, "type", "expected another type")])
            }
            _ => Error::new(&MALFORMED_JSON).detail(format!(
                "at line {} column {}",
                cause.line(),
                cause.column()
            )),
        }
    })?;
    json.end()
        .map_err(|_| Error::new(&MALFORMED_JSON).detail("something follows the JSON value"))?;
    Ok(value)
}

/// A struct as an object and nothing else: serde takes an array for one as well, its values by position.
pub(crate) struct JsonObject<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> std::result::Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(JsonObject)
    }
}

/// A struct inside of a body: `#[serde(deserialize_with = "object")]`. Bodies as a whole are read so anyway.
///
/// # Errors
/// When it is no object.
pub fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    JsonObject::deserialize(deserializer).map(|JsonObject(value)| value)
}

/// serde's messages quote the offending value; only what it expected goes out.
fn data_error(pointer: String, cause: &serde_json::Error) -> FieldError {
    let message = cause.to_string();
    let message = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(text, _)| text);
    let quoted = |prefix: &str| message.strip_prefix(prefix)?.split('`').next();
    if let Some(field) = quoted("missing field `") {
        FieldError::body(
            format!("{pointer}/{}", escape(field)),
            "required",
            "this field is required",
        )
    } else if message.starts_with("unknown field `") {
        FieldError::body(pointer, "unknown-field", "there is no such field")
    } else if message.starts_with("invalid type")
        || message.starts_with("unknown variant")
        || message.starts_with("invalid value")
    {
        let expected = message
            .split_once("expected ")
            .map_or("another type", |(_, expected)| expected);
        FieldError::body(pointer, "type", format!("expected {expected}"))
    } else if message.starts_with("UUID parsing failed") {
        FieldError::body(pointer, "format", "expected a UUID")
    } else {
        // Texts of our own types, which quote nothing.
        FieldError::body(pointer, "format", message)
    }
}

/// `profile.first_name` or `items[3].sku` as an RFC 6901 pointer.
fn pointer(path: &str) -> String {
    if path == "." || path.is_empty() {
        return String::new();
    }
    path.replace('[', ".")
        .replace(']', "")
        .split('.')
        .map(|segment| format!("/{}", escape(segment)))
        .collect()
}

/// Of a field that nobody knows, only the beginning: its name may be as long as the body.
fn escape(segment: &str) -> String {
    let end = segment
        .char_indices()
        .nth(LONGEST_NAME)
        .map_or(segment.len(), |(end, _)| end);
    segment[..end].replace('~', "~0").replace('/', "~1")
}

/// garde's messages are English text; a custom rule's message is `code: text`.
fn field_errors(report: &garde::Report) -> impl Iterator<Item = FieldError> {
    report.iter().map(|(path, error)| {
        let message = error.message();
        let (code, detail) = match message.split_once(": ") {
            Some((code, detail)) if code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') => {
                (code, detail)
            }
            _ if message.starts_with("length is") => ("length", message),
            _ if message.starts_with("lower than") || message.starts_with("greater than") => {
                ("range", message)
            }
            _ if message.contains("pattern") => ("pattern", message),
            _ => ("invalid", message),
        };
        FieldError::body(pointer(&path.to_string()), code, detail)
    })
}

/// A garde rule: text with a visible character and without control characters, those that turn it around among them.
///
/// # Errors
/// `blank` or `control-character`.
pub fn plain_text(value: impl AsRef<str>, _: &()) -> garde::Result {
    let text = value.as_ref();
    if text.chars().all(|c| c.is_whitespace() || is_invisible(c)) {
        return Err(garde::Error::new("blank: must not be blank"));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' || turns_text(c)) {
        return Err(garde::Error::new(
            "control-character: must not contain control characters",
        ));
    }
    Ok(())
}

/// A parameter of the path. One that is not an id names nothing: 404.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    #[expect(
        clippy::disallowed_types,
        reason = "the wrapped extractor; its rejection becomes a problem here"
    )]
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Path(value)),
            Err(_) => Err(Error::new(&NOT_FOUND)),
        }
    }
}

/// The query's parameters; types used here carry `deny_unknown_fields`.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        Ok(Query(from_query(&query_pairs(parts)?)?))
    }
}

/// Parameters that stand beside others in a query.
pub trait Parameters: DeserializeOwned {
    /// Their names.
    const NAMES: &'static [&'static str];
}

/// Query parameters of two structs (with `deny_unknown_fields`): those that `A` names, and the rest.
pub struct Queries<A, B>(pub A, pub B);

impl<S: Send + Sync, A: Parameters + Send, B: DeserializeOwned + Send> FromRequestParts<S> for Queries<A, B> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let (own, rest): (Vec<_>, Vec<_>) = query_pairs(parts)?
            .into_iter()
            .partition(|(name, _)| A::NAMES.contains(&name.as_str()));
        Ok(Queries(from_query(&own)?, from_query(&rest)?))
    }
}

/// The query's pairs, decoded.
pub(crate) fn query_pairs(parts: &Parts) -> Result<Vec<(String, String)>> {
    let query = parts.uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> =
        serde_urlencoded::from_str(query).map_err(|_| Error::new(&QUERY_INVALID))?;
    if pairs
        .iter()
        .any(|(name, value)| name.contains('\0') || value.contains('\0'))
    {
        return Err(Error::new(&QUERY_INVALID).detail("NUL is not allowed"));
    }
    Ok(pairs)
}

/// Parses query pairs into `T` (with `deny_unknown_fields`).
pub(crate) fn from_query<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T> {
    let encoded = serde_urlencoded::to_string(pairs).map_err(|_| Error::new(&QUERY_INVALID))?;
    let pairs = serde_urlencoded::Deserializer::new(form_pairs(&encoded));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        // A repeated parameter is told of in the message only.
        let text = error.inner().to_string();
        let repeated = text
            .strip_prefix("duplicate field `")
            .and_then(|rest| rest.split('`').next());
        let name = repeated.map_or_else(|| error.path().to_string(), ToOwned::to_owned);
        Error::new(&QUERY_INVALID).parameter(&name, "invalid", "unknown or invalid parameter")
    })
}

fn form_pairs(encoded: &str) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(encoded.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::Patch;

    #[derive(Debug, Deserialize, Validate)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[garde(length(chars, min = 1, max = 3), custom(plain_text))]
        name: String,
        #[serde(default)]
        #[garde(inner(inner(length(chars, max = 2))))]
        note: Patch<Option<String>>,
        #[serde(default)]
        #[garde(skip)]
        size: Size,
    }

    #[derive(Deserialize, Validate)]
    struct Many {
        #[garde(inner(length(chars, min = 1)))]
        all: Vec<String>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    enum Size {
        #[default]
        Small,
    }

    fn parse(json: &str) -> Result<Sample> {
        let value: Sample = from_json(json.as_bytes())?;
        value
            .validate()
            .map_err(|report| Error::invalid(field_errors(&report)))?;
        Ok(value)
    }

    fn shown(json: &str) -> String {
        let error = parse(json).expect_err(json);
        let debug = format!("{error:?}");
        let errors = debug.split("errors: ").nth(1).unwrap_or_default();
        let field = |name: &str| {
            errors
                .split(name)
                .nth(1)
                .unwrap_or_default()
                .split('"')
                .nth(1)
                .unwrap_or_default()
                .to_owned()
        };
        format!("{} {} {}", error.code(), field("pointer"), field("code"))
    }

    #[test]
    fn faults_are_coded_and_located() {
        assert_eq!(shown(r#"{"name":"#).split(' ').next(), Some("malformed-json"));
        assert_eq!(shown(r#"{}"#), "validation-failed /name required");
        assert_eq!(shown(r#"{"name":5}"#), "validation-failed /name type");
        assert_eq!(shown(r#"["x"]"#), "validation-failed  type");
        assert_eq!(
            shown(r#"{"name":"x","b":1}"#),
            "validation-failed /b unknown-field"
        );
        assert_eq!(shown(r#"{"name":"long"}"#), "validation-failed /name length");
        assert_eq!(shown(r#"{"name":" "}"#), "validation-failed /name blank");
        assert_eq!(shown(r#"{"name":"\u200b "}"#), "validation-failed /name blank");
        assert_eq!(
            shown(r#"{"name":"a\u202eb"}"#),
            "validation-failed /name control-character"
        );
        assert_eq!(
            shown(r#"{"name":"x","note":"abc"}"#),
            "validation-failed /note length"
        );
        assert_eq!(
            shown(r#"{"name":"x","size":null}"#),
            "validation-failed /size type"
        );
        assert_eq!(
            shown(r#"{"name":"x","size":"Large"}"#),
            "validation-failed /size type"
        );
        assert_eq!(
            shown(r#"{"name":"x","size":nul}"#).split(' ').next(),
            Some("malformed-json")
        );
    }

    #[test]
    fn a_long_name_is_not_sent_back_whole() {
        let name = "ñ".repeat(100_000);
        let error = format!(
            "{:?}",
            parse(&format!(r#"{{"name":"x","{name}":1}}"#)).expect_err("unknown")
        );
        assert!(
            error.contains(&name[..200]) && error.len() < 1000,
            "{}",
            error.len()
        );
    }

    #[test]
    fn of_many_faults_the_first_hundred_are_told() {
        let JsonObject(many) =
            serde_json::from_value(serde_json::json!({"all": vec![""; 150_000]})).expect("a body");
        let Many { all } = &many;
        assert_eq!(all.len(), 150_000);
        let error = Error::invalid(field_errors(&many.validate().expect_err("blank")));
        let told = format!("{error:?}");
        assert_eq!(told.matches("pointer").count(), 100);
        assert!(told.contains("/all/99") && !told.contains("/all/100"), "{told}");
    }

    #[test]
    fn absent_is_not_null() {
        let absent = parse(r#"{"name":"x"}"#).expect("absent");
        assert_eq!((absent.note, absent.size), (Patch::Keep, Size::Small));
        assert_eq!(
            parse(r#"{"name":"x","note":null}"#).expect("null").note,
            Patch::Set(None)
        );
        assert_eq!(
            parse(r#"{"name":"x","note":"a"}"#)
                .expect("set")
                .note
                .flat()
                .map(String::as_str),
            Some("a")
        );
    }
}
