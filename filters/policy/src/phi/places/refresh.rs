//! `Refresh`, read as browsers read it (HTML, 4.2.5.3, the shared declarative refresh steps).

use super::super::reference::Fate;
use super::super::{Counts, PhiPolicy, Scene, Way};
use super::Line;
use super::params::Cursor;

pub(super) fn judge(policy: &PhiPolicy, text: &str, scene: &Scene<'_>, counts: &mut Counts) -> Line {
    let is_space = |b: u8| matches!(b, b' ' | b'\t');
    let mut cursor = Cursor::new(text);
    cursor.run(is_space);
    if cursor.run(|b| b.is_ascii_digit() || b == b'.').is_empty() {
        return Line::Remove;
    }
    let spaces = cursor.run(is_space);
    if cursor.is_at_end() {
        return Line::Keep;
    }
    if !cursor.take(b';') && !cursor.take(b',') && spaces.is_empty() {
        return Line::Remove;
    }
    cursor.run(is_space);
    let mut start = cursor.at();
    let named = text.get(start..).is_some_and(|rest| {
        rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("url"))
            && rest
                .get(3..)
                .is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with('='))
    });
    if named {
        cursor.run(|b| b != b'=');
        cursor.take(b'=');
        cursor.run(is_space);
        start = cursor.at();
    }
    let quote = cursor.peek().filter(|b| matches!(b, b'"' | b'\''));
    if let Some(quote) = quote {
        cursor.take(quote);
        start = cursor.at();
    }
    let url = match quote {
        Some(quote) => cursor.run(|b| b != quote),
        None => start..text.len(),
    };
    let (Some(before), Some(url), Some(after)) = (text.get(..url.start), text.get(url.clone()), text.get(url.end..))
    else {
        return Line::Remove;
    };
    // Browsers leave out what follows the quote; a log does not.
    if after.trim_ascii().len() > 1 {
        return Line::Remove;
    }
    let judged = policy.judge_reference(url.trim_ascii_end(), Way::Out, scene);
    counts.add(judged.counts);
    match judged.fate {
        Fate::Keep => Line::Keep,
        Fate::Replace(new) if quote.is_none_or(|quote| !new.as_bytes().contains(&quote)) => {
            Line::Replace([before, &new, after].concat())
        }
        Fate::Replace(_) | Fate::Unreadable | Fate::Reject(_) => Line::Remove,
    }
}
