//! The two ways in which Weaviate writes a time: three decimals over REST, Go's shortest form in its S3 JSON.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serializer};

/// Go's zero time, which Weaviate never omits and which means "not set".
pub(crate) const ZERO_SECONDS: i64 = -62_135_596_800;

/// Go's zero time, year 1.
pub(crate) fn zero() -> Timestamp {
    Timestamp::from_second(ZERO_SECONDS).unwrap_or(Timestamp::MIN)
}

/// This instant.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// RFC 3339 with exactly three decimals and `Z`, as the REST API prints it.
pub(crate) fn rest(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// As Go prints a time into a text.
pub(crate) fn go(at: Timestamp) -> String {
    format!("{} +0000 UTC", at.to_string().replace('T', " ").trim_end_matches('Z'))
}

/// Serialises as Go's RFC3339Nano in UTC (trailing zeros dropped).
pub(crate) fn write<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_string())
}

/// Reads RFC 3339 with any offset.
pub(crate) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zero_time_has_three_decimals_over_rest_and_none_in_s3() {
        assert_eq!(rest(zero()), "0001-01-01T00:00:00.000Z");
        assert_eq!(zero().to_string(), "0001-01-01T00:00:00Z");
    }
}
