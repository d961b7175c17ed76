//! The headers by which a response can be stored in spite of its Cache-Control, found again by others than its URL's readers, or replaced.
//!
//! | header | whose | source |
//! | --- | --- | --- |
//! | `Expires`, `Age`, `Pragma` | all | RFC 9111 5.3, 5.1, 5.4 |
//! | `CDN-Cache-Control` and all else that ends in `-Cache-Control`: `Cloudflare-CDN-`, `Vercel-CDN-`, `Netlify-CDN-`, `Akamai-`, `Azion-`, `Souin-`, `X-LiteSpeed-`, `X-Magento-`, `Surrogate-`, .. | CDNs and gateways | RFC 9213 2 (any name can be targeted), vendors' manuals |
//! | `Surrogate-Control`, `Surrogate-Key`, `Surrogate-Keys`, `Surrogate-Key-Raw` | Fastly, Varnish, Pantheon, Drupal | W3C note Edge Architecture 1.0 2.3; Fastly's manual, Purging with surrogate keys |
//! | `X-Accel-Expires` and other `X-Accel-*` but `X-Accel-Buffering` | nginx | ngx_http_proxy_module, `proxy_ignore_headers`. `X-Accel-Redirect` puts another body in place of the judged one; `X-Accel-Buffering` keeps bodies from disk |
//! | `Edge-Control`, `Edge-Cache-Tag` | Akamai | Akamai's manual, Caching; Cache Tag |
//! | what ends in `Cache-Tag` or `Cache-Tags`: `Cache-Tag` (Cloudflare, Google Cloud CDN, KeyCDN, Azion), `Netlify-Cache-Tag`, `Vercel-Cache-Tag`, `X-Cache-Tags`, `X-Drupal-Cache-Tags` | CDNs, Drupal | their manuals, Purge by tag |
//! | `Cache-Groups` | all | RFC 9875 2 |
//! | `xkey`, `ykey`, `X-HashTwo` | Varnish | varnish-modules, vmod_xkey; Varnish Enterprise, vmod_ykey, vmod_hashtwo |
//! | `CDN-Tag` | bunny.net | its manual, Tag-based purging |
//! | `X-LiteSpeed-Tag`, `X-LiteSpeed-Vary` | LiteSpeed | LSCache developer guide |
//! | `X-Drupal-Cache-Contexts`, `X-Drupal-Cache-Max-Age`, `X-Magento-Tags` | Drupal, Magento behind Varnish | Drupal's manual, Cache API; Magento's VCL |
//! | `Netlify-Vary`, `No-Vary-Search` | Netlify; browsers and CDNs | its manual, Cache key variation; HTML's prefetch: one stored response serves other URLs |
//!
//! Tags are no lifetime. They go because a cache that has them stored the response, and because they name what it is about (`Surrogate-Key: patient-7`) to all
//! who read its index. What only invalidates stays: `Cache-Group-Invalidation`, `X-LiteSpeed-Purge`, `Clear-Site-Data`.

/// Whether a header of that name (lowercase) is one of them.
pub fn overrides(name: &[u8]) -> bool {
    match name.first() {
        Some(b'a') if name == b"age" => true,
        Some(b'c') if matches!(name, b"cache-control") => false,
        Some(b'c') if matches!(name, b"cache-groups" | b"cdn-tag") => true,
        Some(b'e') if matches!(name, b"expires" | b"edge-control") => true,
        Some(b'n') if matches!(name, b"no-vary-search" | b"netlify-vary") => true,
        Some(b'p') if name == b"pragma" => true,
        Some(b's')
            if matches!(
                name,
                b"surrogate-control" | b"surrogate-key" | b"surrogate-keys" | b"surrogate-key-raw"
            ) =>
        {
            true
        }
        Some(b'x') if name.starts_with(b"x-accel-") => name != b"x-accel-buffering",
        Some(b'x' | b'y')
            if matches!(
                name,
                b"xkey"
                    | b"ykey"
                    | b"x-hashtwo"
                    | b"x-litespeed-tag"
                    | b"x-litespeed-vary"
                    | b"x-drupal-cache-contexts"
                    | b"x-drupal-cache-max-age"
                    | b"x-magento-tags"
            ) =>
        {
            true
        }
        _ => targets(name) || name.ends_with(b"cache-tag") || name.ends_with(b"cache-tags"),
    }
}

/// Whether it is a Cache-Control for some caches only (RFC 9213 2).
pub fn targets(name: &[u8]) -> bool {
    name.ends_with(b"-cache-control")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_one_goes_and_what_says_something_else_stays() {
        for name in [
            "expires",
            "age",
            "pragma",
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "vercel-cdn-cache-control",
            "netlify-cdn-cache-control",
            "akamai-cache-control",
            "azion-cache-control",
            "souin-cache-control",
            "x-litespeed-cache-control",
            "surrogate-control",
            "surrogate-key",
            "surrogate-keys",
            "surrogate-key-raw",
            "x-accel-expires",
            "x-accel-redirect",
            "x-accel-charset",
            "edge-control",
            "edge-cache-tag",
            "cache-tag",
            "cache-tags",
            "netlify-cache-tag",
            "vercel-cache-tag",
            "x-cache-tags",
            "x-drupal-cache-tags",
            "x-drupal-cache-contexts",
            "x-drupal-cache-max-age",
            "x-magento-tags",
            "cache-groups",
            "xkey",
            "ykey",
            "x-hashtwo",
            "cdn-tag",
            "x-litespeed-tag",
            "x-litespeed-vary",
            "netlify-vary",
            "no-vary-search",
        ] {
            assert!(overrides(name.as_bytes()), "{name}");
        }
        for name in [
            "cache-control",
            "",
            "etag",
            "last-modified",
            "vary",
            "x-accel-buffering",
            "cache-group-invalidation",
            "x-litespeed-purge",
            "clear-site-data",
            "cache-status",
            "x-cache",
            "content-type",
            "xkeys",
            "surrogate-capability",
            "access-control-allow-origin",
        ] {
            assert!(!overrides(name.as_bytes()), "{name}");
        }
    }
}
