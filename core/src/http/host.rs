//! Names in a Host header.

/// The name in it: in lower case, without a port and without the dot that may end a full name.
pub fn name(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => &host,
    };
    name.trim_end_matches('.').to_owned()
}

/// What stands in front of a domain in a [`name`]: one label or more; `None` if the name is not below that domain.
pub fn in_front_of<'a>(name: &'a str, domain: &str) -> Option<&'a str> {
    let front = name.strip_suffix(domain)?.strip_suffix('.')?;
    (!front.is_empty()).then_some(front)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_without_port_and_last_dot() {
        for (host, expected) in [
            ("Example.ORG", "example.org"),
            ("example.org:3902", "example.org"),
            ("example.org.:3902", "example.org"),
            ("[::1]:3902", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(name(host), expected, "{host}");
        }
    }

    #[test]
    fn labels_stand_in_front_of_a_domain() {
        let front = |name| in_front_of(name, "example.org");
        assert_eq!(front("photos.example.org"), Some("photos"));
        assert_eq!(front("my.photos.example.org"), Some("my.photos"));
        for other in ["example.org", ".example.org", "myexample.org", "example.com", ""] {
            assert_eq!(front(other), None, "{other}");
        }
    }
}
