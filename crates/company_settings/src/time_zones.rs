//! Time zones by their names.

/// The name of an IANA time zone, given in any case: `UTC` or one of the form area/location. The rest
/// of a system's files are not places (`localtime`, `Factory`) or old names of some (`Japan`).
pub fn time_zone_name(text: &str) -> Option<String> {
    let zone = jiff::tz::TimeZone::get(text)
        .ok()
        .filter(|zone| !zone.is_unknown())?;
    zone.iana_name()
        .filter(|name| *name == "UTC" || name.contains('/'))
        .map(ToOwned::to_owned)
}

/// A garde rule for [`time_zone_name`].
///
/// # Errors
/// `time-zone`.
pub fn is_time_zone(value: &str, _: &()) -> garde::Result {
    let fault = || garde::Error::new("time-zone: must be an IANA time zone such as America/Bogota");
    time_zone_name(value).map(drop).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_known_by_name() {
        assert_eq!(
            time_zone_name("america/BOGOTA").as_deref(),
            Some("America/Bogota")
        );
        for bad in [
            "",
            "America/Macondo",
            "Etc/Unknown",
            "-05:00",
            "COT5",
            "../UTC",
            "/etc/localtime",
            "localtime",
            "Factory",
            "posix/UTC",
        ] {
            assert_eq!(time_zone_name(bad), None, "{bad}");
        }
    }
}
