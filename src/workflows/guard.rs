//! Where calls to the outside may go: public addresses, and the hosts that the operator names in
//! `WEBHOOK_ALLOWED_HOSTS`.
//!
//! A literal address is judged when the URL is written and again before each call; a name by the very addresses that are
//! connected to, so that a name that changes its mind between two look-ups gains nothing. Redirects are not followed and
//! proxies of the environment not used: either would go round this.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Which targets are taken; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// Lower case, without port and final dot.
    allowed: Arc<[String]>,
}

impl Guard {
    /// Takes public addresses and these hosts.
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self { allowed: allowed.iter().map(|host| bare(host)).collect() }
    }

    /// Reads a target.
    ///
    /// # Errors
    /// Why it is none, for people.
    pub(crate) fn target(&self, url: &str) -> Result<Url, &'static str> {
        let url = Url::parse(url.trim()).map_err(|_| "This is no URL.")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("Only http and https URLs can be called.");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("A user name and a password have no place in the URL: everyone who sees the workflow sees it.");
        }
        // The parser has turned every way of writing an IPv4 address (decimal, octal, hexadecimal) into the usual one.
        let host = url.host_str().unwrap_or_default();
        match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) if !is_public(address) && !self.allows(host) => {
                Err("This address is private; the operator can allow it in WEBHOOK_ALLOWED_HOSTS.")
            }
            Ok(_) | Err(_) => Ok(url),
        }
    }

    fn allows(&self, host: &str) -> bool {
        let host = bare(host);
        self.allowed.contains(&host)
    }

    /// Of the addresses of a host those that may be connected to.
    fn reachable(&self, host: &str, found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        let allowed = self.allows(host);
        let kept: Vec<_> = found.filter(|address| allowed || is_public(address.ip())).collect();
        if kept.is_empty() {
            return Err(io::Error::other("the host has no public address; see WEBHOOK_ALLOWED_HOSTS"));
        }
        Ok(kept)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let kept: Addrs = Box::new(guard.reachable(name.as_str(), found)?.into_iter());
            Ok(kept)
        })
    }
}

/// A host as it is compared.
pub(super) fn bare(host: &str) -> String {
    host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase()
}

/// Whether the address is one of the internet's, by the registries of special-purpose addresses (RFC 6890 and later).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    const SPECIAL: [(Ipv4Addr, u32); 14] = [
        (Ipv4Addr::UNSPECIFIED, 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        // Carriers' own translation.
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        // Link-local, where clouds answer with their secrets.
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        // Multicast, what is reserved, and broadcast.
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    SPECIAL.iter().all(|(net, prefix)| (net.to_bits() ^ address.to_bits()) >> (32 - prefix) != 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    let within = |net: Ipv6Addr, prefix: u32| (net.to_bits() ^ bits) >> (128 - prefix) == 0;
    // What is allotted to the internet is 2000::/3. Within it some ways lead elsewhere: Teredo and the rest of 2001::/23,
    // documentation, 6to4, and segment routing; and outside of it an address of NAT64 stands for the one in its last bits.
    let special = [
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
        (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    ];
    within(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3) && special.iter().all(|(net, prefix)| !within(*net, *prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_private_address_is_refused() {
        let guard = Guard::new(&[]);
        let spellings = [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0x7f.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[64:ff9b:1::1]/",
            "http://[2002:7f00:1::]/",
            "http://[2001::1]/",
            "http://[fe80::1]/",
            "http://[fc00::1]/",
            "http://[fd12::1]/",
            "http://[fec0::1]/",
            "http://[ff02::1]/",
            "http://[100::1]/",
            "http://[2001:db8::1]/",
            "http://[5f00::1]/",
            "http://10.0.0.1/",
            "http://100.64.0.1/",
            "http://100.127.255.255/",
            "http://169.254.169.254/",
            "http://172.16.0.1/",
            "http://172.31.255.255/",
            "http://192.168.1.1/",
            "http://198.18.0.1/",
            "http://198.19.255.255/",
            "http://192.0.0.8/",
            "http://192.0.2.1/",
            "http://203.0.113.7/",
            "http://224.0.0.1/",
            "http://240.0.0.1/",
            "http://255.255.255.255/",
            "http://127。0。0。1/",
            "http://①②⑦.0.0.1/",
            "http://%31%32%37.0.0.1/",
            "http://0xa9fea9fe/",
            "http://3232235777/",
        ];
        for url in spellings {
            assert!(guard.target(url).is_err(), "{url} is taken");
        }
    }

    #[test]
    fn public_addresses_are_taken() {
        let guard = Guard::new(&[]);
        for url in [
            "http://1.1.1.1/",
            "https://172.32.0.1/",
            "http://100.128.0.1/",
            "https://[2606:4700::1111]/hook",
            "https://n8n.example.edu/webhook/x",
        ] {
            assert!(guard.target(url).is_ok(), "{url} is refused");
        }
    }

    #[test]
    fn only_http_without_credentials_is_taken() {
        let guard = Guard::new(&["h".into()]);
        for url in [
            "ftp://h/",
            "file:///etc/passwd",
            "gopher://h/",
            "h",
            "",
            "//h/",
            "http://u:p@h/",
            "http://u@h/",
            "unix:/run/x",
        ] {
            assert!(guard.target(url).is_err(), "{url} is taken");
        }
    }

    #[test]
    fn what_a_name_leads_to_is_judged_address_by_address() {
        let private: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
        let public: SocketAddr = "1.1.1.1:80".parse().unwrap();
        let guard = Guard::new(&["n8n.internal".into()]);
        assert_eq!(guard.reachable("rebinds.example", [private, public, mapped].into_iter()).unwrap(), [public]);
        assert!(guard.reachable("inside.example", [private, mapped].into_iter()).is_err());
        assert_eq!(guard.reachable("N8N.Internal.", [private].into_iter()).unwrap(), [private]);
        assert!(guard.target("http://127.0.0.1:5678/").is_err());
        assert!(Guard::new(&["127.0.0.1".into()]).target("http://127.0.0.1:5678/").is_ok());
        assert!(Guard::new(&["::1".into()]).target("http://[::1]:5678/").is_ok());
    }
}
