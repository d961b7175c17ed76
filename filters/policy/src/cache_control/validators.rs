//! Entity tags of trimmed bodies (RFC 9110 8.8.3): bodies differ by view and policy, so tags must too.
//!
//! 1. On its way out a tag becomes weak and gets a salt: `"abc"` is `W/"abc~s0123456789abcdef"`, `W/"abc"` is `W/"abc~w0123456789abcdef"`. It says nothing of bytes
//!    any more, and is that of one view of one policy.
//! 2. The salt is of the policy file's digest, the policy's name, the view, and the key of pseudonyms where there is one: when one of them changes the bodies may,
//!    and no tag from before holds.
//! 3. FHIR's version tag, `W/"versionId"` on `application/fhir+json`, stays as it is: it names the version of the record, not of the body, and `If-Match` of a
//!    later change needs it (FHIR R4 http 3.1.0.5.4). So does one where no body is (304, 204), since the type is then not said. Who has a copy of that version from
//!    before a policy changed keeps seeing it.
//! 4. On its way in `If-None-Match` of GET and HEAD is turned back: what has this view's salt becomes the upstream's own tag again, strong or weak; what has another
//!    salt, or none, goes, and then a full response comes; FHIR's version tags and `*` stay. What can't be read goes as a whole.
//! 5. On other methods only what has this view's salt is turned back and all else stays: there a condition that went would let a change through. So it is with
//!    `If-Match` on every method. `If-Unmodified-Since` stays untouched.
//! 6. `If-Modified-Since` of GET and HEAD goes: a change of policy leaves `Last-Modified` as it is, so 304 would keep a body alive that is not to be seen any more.
//!    `Last-Modified` itself stays, since FHIR wants it (R4 http 3.1.0.1.4) and it is the record's; as a validator it does nothing any more.
//! 7. Where no single tag can be read in what the upstream sent (the proxy folds repeated lines into one, `"1","2"`), or no view governs, the response has none.

use sha2::{Digest as _, Sha256};

use crate::compile::Compiled;
use crate::head::{RequestHead, ResponseHead};
use crate::response_trim::Views;

/// How many hexadecimal digits a salt has.
const SALT: usize = 16;

/// The longest version id of FHIR (R4 datatypes, `id`).
const MAX_ID: usize = 64;

/// What tags of the views that one caller gets of one policy carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt(String);

impl Salt {
    /// The salt of the views that one caller gets, by the policy's name.
    pub fn of(compiled: &Compiled, policy: &str, views: Views) -> Self {
        let view = views.0.to_string();
        let mut text = [
            b"etag\0",
            compiled.digest.as_bytes(),
            b"\0",
            policy.as_bytes(),
            b"\0",
            view.as_bytes(),
        ]
        .concat();
        if let Some(key) = &compiled.pseudonyms {
            text = key.pseudonym(&text).as_str().to_owned().into_bytes();
        }
        let hash = Sha256::digest(&text);
        Salt(hash.iter().take(SALT / 2).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// An entity tag: whether it is weak, and what stands between the quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// Reads the one tag that stands here (RFC 9110 8.8.3).
    fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (weak, quoted) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let opaque = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let sound = |byte: u8| byte == b'!' || (byte >= b'#' && byte != 0x7f);
        opaque.iter().copied().all(sound).then_some(Tag { weak, opaque })
    }

    fn render(self) -> Vec<u8> {
        let weak: &[u8] = if self.weak { b"W/" } else { b"" };
        [weak, b"\"", self.opaque, b"\""].concat()
    }

    /// Whether it is of FHIR's form, `W/"id"`.
    fn is_version(self) -> bool {
        let of_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        self.weak && (1..=MAX_ID).contains(&self.opaque.len()) && self.opaque.iter().copied().all(of_id)
    }

    fn salted(self, salt: &Salt) -> Vec<u8> {
        let kind: &[u8] = if self.weak { b"~w" } else { b"~s" };
        [b"W/\"", self.opaque, kind, salt.0.as_bytes(), b"\""].concat()
    }

    /// What it was before it was salted with this; `None`: it was not. Caches that compare weakly may send it as a strong one.
    fn desalted(self, salt: &Salt) -> Option<Self> {
        let rest = self.opaque.strip_suffix(salt.0.as_bytes())?;
        let (weak, opaque) = match rest.strip_suffix(b"~w") {
            Some(opaque) => (true, opaque),
            None => (false, rest.strip_suffix(b"~s")?),
        };
        Some(Tag { weak, opaque })
    }
}

/// Salts the response's tag. `salt`: of the view that governs; `body`: whether a body comes.
pub fn salt(head: &mut ResponseHead, body: bool, salt: &dyn Fn() -> Option<Salt>) {
    let mut lines = head.all("etag");
    let Some(first) = lines.next() else { return };
    let tag = match lines.next() {
        None => Tag::parse(first),
        Some(_) => None,
    };
    drop(lines);
    let Some(tag) = tag else {
        head.remove("etag");
        return;
    };
    if tag.is_version() && is_fhir(head, body) {
        return;
    }
    match salt().map(|salt| tag.salted(&salt)) {
        Some(salted) => head.set("etag", salted),
        None => head.remove("etag"),
    }
}

/// Whether version tags are FHIR's here: it says that it is, or says nothing and there is nothing.
fn is_fhir(head: &ResponseHead, body: bool) -> bool {
    let mut types = head.all("content-type");
    match (types.next(), types.next()) {
        (None, _) => !body,
        (Some(one), None) => one
            .get(..b"application/fhir+".len())
            .is_some_and(|start| start.eq_ignore_ascii_case(b"application/fhir+")),
        _ => false,
    }
}

/// Turns the request's conditions back to what the upstream knows. `salt`: of the view that governs.
pub fn desalt(head: &mut RequestHead, salt: &dyn Fn() -> Option<Salt>) {
    let reads = matches!(head.method(), b"GET" | b"HEAD");
    if reads {
        head.remove("if-modified-since");
    }
    turn_back(head, "if-none-match", reads, salt);
    turn_back(head, "if-match", false, salt);
}

/// Turns back the tags of a condition. `drops`: whether those of others go.
fn turn_back(head: &mut RequestHead, name: &'static str, drops: bool, salt: &dyn Fn() -> Option<Salt>) {
    if !head.has(name) {
        return;
    }
    let lines: Vec<&[u8]> = head.all(name).collect();
    if lines.iter().all(|line| line.trim_ascii() == b"*") && lines.len() == 1 {
        return;
    }
    let joined = lines.join(&b',');
    let Some(tags) = tags(&joined) else {
        if drops {
            head.remove(name);
        }
        return;
    };
    let salt = tags.iter().any(|tag| !tag.is_version()).then(salt).flatten();
    let mut changed = drops && tags.is_empty();
    let mut kept: Vec<Vec<u8>> = Vec::with_capacity(tags.len());
    for tag in &tags {
        match salt.as_ref().and_then(|salt| tag.desalted(salt)) {
            Some(own) => {
                changed = true;
                kept.push(own.render());
            }
            None if tag.is_version() || !drops => kept.push(tag.render()),
            None => changed = true,
        }
    }
    if !changed {
        return;
    }
    let value = kept.join(&b", "[..]);
    if value.is_empty() {
        head.remove(name);
    } else {
        head.set(name, value);
    }
}

/// The tags of a list (RFC 9110 13.1.2); `None` where one can't be read. A tag may hold commas.
fn tags(list: &[u8]) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut rest = list;
    loop {
        while let Some((b' ' | b'\t' | b',', more)) = rest.split_first() {
            rest = more;
        }
        if rest.is_empty() {
            return Some(tags);
        }
        let open = memchr::memchr(b'"', rest)?.checked_add(1)?;
        let length = memchr::memchr(b'"', rest.get(open..)?)?
            .checked_add(open)?
            .checked_add(1)?;
        let (tag, more) = rest.split_at_checked(length)?;
        tags.push(Tag::parse(tag)?);
        rest = more.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b",") {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210";

    fn of(text: &str) -> impl Fn() -> Option<Salt> {
        let salt = Salt(text.to_owned());
        move || Some(salt.clone())
    }

    fn out(lines: &[(&str, &str)], body: bool) -> Option<String> {
        let lines = lines
            .iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let mut head = ResponseHead::new(lines);
        salt(&mut head, body, &of(OWN));
        head.first("etag").map(|tag| String::from_utf8(tag.to_vec()).unwrap())
    }

    fn back(method: &str, lines: &[(&str, &str)]) -> Vec<(String, String)> {
        let method = [(":method", method)];
        let lines = method
            .iter()
            .chain(lines)
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let mut head = RequestHead::new(lines);
        desalt(&mut head, &of(OWN));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        head.lines()
            .skip(1)
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    fn none_match(method: &str, value: &str) -> Option<String> {
        back(method, &[("if-none-match", value)]).pop().map(|(_, value)| value)
    }

    #[test]
    fn tags_are_weak_and_salted_but_fhirs_versions_stay() {
        let fhir = ("content-type", "Application/FHIR+json; charset=utf-8");
        let json = ("content-type", "application/json");
        let salted = |kind: &str| Some(format!("W/\"abc~{kind}{OWN}\""));
        assert_eq!(out(&[fhir, ("etag", "\"abc\"")], true), salted("s"));
        assert_eq!(out(&[json, ("etag", "\"abc\"")], true), salted("s"));
        assert_eq!(out(&[("etag", "\"abc\"")], false), salted("s"));
        assert_eq!(out(&[json, ("etag", "W/\"abc\"")], true), salted("w"));
        assert_eq!(out(&[("etag", "W/\"abc\"")], true), salted("w"));
        for kept in [
            out(&[fhir, ("etag", "W/\"abc\"")], true),
            out(&[("etag", "W/\"abc\"")], false),
            out(&[fhir, ("etag", "W/\"abc\"")], false),
        ] {
            assert_eq!(kept.as_deref(), Some("W/\"abc\""));
        }
        assert_eq!(
            out(&[fhir, ("etag", "W/\"a/b\"")], true),
            Some(format!("W/\"a/b~w{OWN}\""))
        );
        assert_eq!(
            out(&[fhir, json, ("etag", "W/\"abc\"")], true),
            salted("w"),
            "of two types none counts"
        );
    }

    #[test]
    fn what_is_no_single_tag_goes() {
        for bad in [
            "W/\"1\",\"2\"",
            "\"1\",\"2\"",
            "\"1\", \"1\"",
            "abc",
            "w/\"1\"",
            "\"a b\"",
            "\"",
            "",
            "\"a\u{1}\"",
        ] {
            assert_eq!(out(&[("etag", bad)], true), None, "{bad}");
        }
        assert_eq!(out(&[("etag", "\"1\""), ("etag", "\"1\"")], true), None);
        let mut head = ResponseHead::new([("etag".to_owned(), b"\"1\"".to_vec())]);
        salt(&mut head, false, &|| None);
        assert!(!head.has("etag"), "no view, no tag");
    }

    #[test]
    fn only_this_views_tags_are_asked_for() {
        let own = format!("W/\"abc~s{OWN}\"");
        for method in ["GET", "HEAD"] {
            assert_eq!(none_match(method, &own).as_deref(), Some("\"abc\""));
            assert_eq!(
                none_match(
                    method,
                    &format!("W/\"a,b~w{OWN}\" , W/\"7\",\"abc~s{OTHER}\", \"plain\", W/\"a/b\"")
                )
                .as_deref(),
                Some("W/\"a,b\", W/\"7\"")
            );
            // A cache may have made it strong.
            assert_eq!(none_match(method, &own[2..]).as_deref(), Some("\"abc\""));
            for gone in [
                "\"abc\"",
                &format!("W/\"abc~s{OTHER}\""),
                "\"",
                "abc",
                "*, W/\"7\"",
                ",",
                "W/\"7\" W/\"8\"",
            ] {
                assert_eq!(none_match(method, gone), None, "{gone}");
            }
            for kept in ["W/\"7\"", "W/\"7\",W/\"8\"", "*", " * "] {
                assert_eq!(none_match(method, kept).as_deref(), Some(kept));
            }
        }
        let two = [("if-none-match", own.as_str()), ("if-none-match", "W/\"7\"")];
        assert_eq!(
            back("GET", &two),
            [("if-none-match".to_owned(), "\"abc\", W/\"7\"".to_owned())]
        );
    }

    #[test]
    fn conditions_of_a_change_are_never_dropped() {
        for method in ["PUT", "POST", "PATCH", "DELETE"] {
            for kept in ["*", "\"abc\"", "W/\"7\"", "broken", "\"x\", \"y\""] {
                assert_eq!(none_match(method, kept).as_deref(), Some(kept));
            }
            assert_eq!(
                none_match(method, &format!("\"x\", W/\"abc~s{OWN}\"")).as_deref(),
                Some("\"x\", \"abc\"")
            );
            let lines = [
                ("if-match", "W/\"7\""),
                ("if-unmodified-since", "x"),
                ("if-modified-since", "x"),
            ];
            assert_eq!(back(method, &lines).len(), 3);
            let own = format!("W/\"abc~s{OWN}\", \"x\"");
            let turned = back(method, &[("if-match", &own)]);
            assert_eq!(turned, [("if-match".to_owned(), "\"abc\", \"x\"".to_owned())]);
        }
    }

    #[test]
    fn a_date_does_not_keep_a_body_alive() {
        assert!(back("GET", &[("if-modified-since", "x")]).is_empty());
        assert!(back("HEAD", &[("if-modified-since", "x")]).is_empty());
        assert_eq!(
            back("GET", &[("if-match", "\"x\""), ("if-unmodified-since", "x")]).len(),
            2
        );
    }

    #[test]
    fn salts_differ_by_policy_file_policy_view_and_key() {
        use crate::chain::ALL;
        use crate::document::{Node, Problems};
        let compiled = |text: &str, key: &str| {
            let node: Node = serde_json::from_str(text).unwrap();
            let key = key.to_owned();
            Compiled::new::<ALL>(&node, &move |_| Some(key.clone()), &mut Problems::default())
                .unwrap_or_else(|| panic!("{text}"))
        };
        let keyless = r#"{"version": "1", "default": "allow"}"#;
        let keyed = r#"{"version": "1", "default": "allow", "keys": {"pseudonyms": {"env": "K"}}}"#;
        let (one, two) = (
            "c3ludGhldGljLXRlc3Qta2V5LW5vdC1hLXNlY3JldCE=",
            "c3ludGhldGljLXRlc3Qta2V5LW5vdC1hLXNlY3JldCEh",
        );
        let a = compiled(keyless, one);
        let salts = [
            Salt::of(&a, "p", Views(0)),
            Salt::of(&a, "p", Views(1)),
            Salt::of(&a, "q", Views(0)),
            Salt::of(&compiled(r#"{"version": "1"}"#, one), "p", Views(0)),
            Salt::of(&compiled(keyed, one), "p", Views(0)),
            Salt::of(&compiled(keyed, two), "p", Views(0)),
        ];
        for (at, salt) in salts.iter().enumerate() {
            assert_eq!(salt.0.len(), SALT);
            assert!(salts.iter().skip(at + 1).all(|other| other != salt), "{at}");
        }
        assert!(
            Salt::of(&compiled(keyless, one), "p", Views(0)) == salts[0],
            "and the same is the same"
        );
    }

    proptest! {
        #[test]
        fn salting_is_reversible_for_this_salt_alone(opaque in prop::collection::vec(prop::sample::select(b"aA0~sw,/.-!\xe9#".to_vec()), 0..40), weak: bool) {
            let tag = Tag { weak, opaque: &opaque };
            let salted = tag.salted(&Salt(OWN.to_owned()));
            let read = Tag::parse(&salted).expect("a tag stays a tag");
            prop_assert!(read.weak && !read.is_version());
            prop_assert!(read.desalted(&Salt(OWN.to_owned())) == Some(tag));
            prop_assert!(read.desalted(&Salt(OTHER.to_owned())).is_none());
            prop_assert!(tags(&salted).is_some_and(|tags| tags == [read]));
        }

        #[test]
        fn what_a_reader_asks_for_is_a_version_or_was_given_to_this_view(line in prop::collection::vec(prop::sample::select(b"W/\"\"\",, ~s7*0123456789abcdef".to_vec()), 0..60)) {
            let mut head = RequestHead::new([(":method".to_owned(), b"GET".to_vec()), ("if-none-match".to_owned(), line.clone())]);
            desalt(&mut head, &of(OWN));
            if let Some(value) = head.first("if-none-match").filter(|value| value.trim_ascii() != b"*") {
                for tag in tags(value).expect("what stays can be read") {
                    let given = tag.salted(&Salt(OWN.to_owned()));
                    prop_assert!(tag.is_version() || memchr::memmem::find(&line, &given[2..]).is_some());
                }
            }
        }
    }
}
