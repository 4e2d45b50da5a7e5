//! `[replay] http`: which version of HTTP the candidate is spoken to in.

use http::Version;

/// Which version of HTTP the candidate is spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http {
    /// The one in which production was.
    #[default]
    Recorded,
    /// HTTP/1.1.
    One,
    /// HTTP/2 without an upgrade.
    Two,
}

impl Http {
    /// Reads the configured word.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "recorded" => Ok(Self::Recorded),
            "1.1" => Ok(Self::One),
            "2" => Ok(Self::Two),
            _ => Err(format!("`{text}` is no version of HTTP: write recorded, 1.1 or 2")),
        }
    }

    /// Returns the version for an exchange that was recorded in one.
    pub(crate) fn version(self, recorded: &str) -> Version {
        match self {
            Self::Two => Version::HTTP_2,
            Self::Recorded if recorded == "HTTP/2.0" => Version::HTTP_2,
            Self::One | Self::Recorded => Version::HTTP_11,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_version_is_spoken_unless_another_is_configured() {
        let spoken = |text| Http::parse(text).map(|http: Http| http.version("HTTP/2.0"));
        assert_eq!(spoken("recorded"), Ok(Version::HTTP_2));
        assert_eq!(spoken("1.1"), Ok(Version::HTTP_11));
        assert_eq!(Http::Recorded.version("HTTP/1.0"), Version::HTTP_11);
        assert_eq!(Http::Two.version("HTTP/1.1"), Version::HTTP_2);
        assert!(spoken("3").is_err());
    }
}
