//! `Link` (RFC 8288) and `Content-Disposition` (RFC 6266): URLs and texts among parameters.

use std::ops::Range;

use super::super::reference::Fate;
use super::super::{Counts, PhiPolicy, Scene, Way};
use super::Line;
use super::params::{Cursor, Param, edited, extended, is_token, quote};
use super::text::Found;

/// Judges all links of a line. A link whose URL can't be read goes; a line that can't be read goes whole.
pub(super) fn links(policy: &PhiPolicy, text: &str, scene: &Scene<'_>, counts: &mut Counts) -> Line {
    let mut cursor = Cursor::new(text);
    let (mut kept, mut changed) = (Vec::new(), false);
    loop {
        cursor.skip_space();
        if cursor.is_at_end() {
            break;
        }
        if cursor.take(b',') {
            continue;
        }
        let start = cursor.at();
        let Some((edits, stays, end)) = link(policy, text, &mut cursor, scene, counts) else {
            return Line::Remove;
        };
        changed |= !edits.is_empty() || !stays;
        if stays {
            let shifted: Vec<(Range<usize>, String)> = edits
                .into_iter()
                .map(|(range, new)| (range.start.saturating_sub(start)..range.end.saturating_sub(start), new))
                .collect();
            kept.push(edited(text.get(start..end).unwrap_or_default(), &shifted));
        } else {
            counts.stripped = counts.stripped.saturating_add(1);
        }
    }
    match (changed, kept.is_empty()) {
        (false, _) => Line::Keep,
        (true, true) => Line::Remove,
        (true, false) => Line::Replace(kept.join(", ")),
    }
}

type Edits = Vec<(Range<usize>, String)>;

/// One link: what changes in it, whether it stays at all, and where it ends.
fn link(
    policy: &PhiPolicy,
    text: &str,
    cursor: &mut Cursor<'_>,
    scene: &Scene<'_>,
    counts: &mut Counts,
) -> Option<(Edits, bool, usize)> {
    if !cursor.take(b'<') {
        return None;
    }
    let url = cursor.run(|b| b != b'>');
    if !cursor.take(b'>') {
        return None;
    }
    let mut edits = Vec::new();
    let mut reference = |range: Range<usize>, url: &str, quoted: bool, edits: &mut Edits| {
        let judged = policy.judge_reference(url, Way::Out, scene);
        counts.add(judged.counts);
        match judged.fate {
            Fate::Keep => true,
            Fate::Replace(new) => {
                edits.push((range, if quoted { quote(&new) } else { new }));
                true
            }
            Fate::Unreadable | Fate::Reject(_) => false,
        }
    };
    let inner = text.get(url.clone())?;
    let mut stays = reference(url, inner, false, &mut edits);
    let (mut texts, mut end) = (Vec::new(), cursor.at());
    loop {
        cursor.skip_space();
        if !cursor.take(b';') {
            match cursor.peek() {
                None | Some(b',') => break,
                Some(_) => return None,
            }
        }
        end = cursor.at();
        cursor.skip_space();
        if cursor.is_at_end() || matches!(cursor.peek(), Some(b';' | b',')) {
            continue;
        }
        let param = cursor.param()?;
        end = cursor.at();
        let Some(value) = &param.value else {
            texts.push(param);
            continue;
        };
        match param.name.to_ascii_lowercase().as_str() {
            "anchor" => stays &= reference(value.range.clone(), &value.text, true, &mut edits),
            // Relations of one's own are URLs (RFC 8288 2.1.2).
            "rel" | "rev" => {
                let mut words = value.text.split_ascii_whitespace();
                stays &= words.all(|word| !word.contains([':', '/', '?']) || policy.is_harmless(word, scene));
                texts.push(param);
            }
            _ => texts.push(param),
        }
    }
    for param in texts {
        edits.extend(judge_text(&param, &|text| policy.judge_text(text, scene), counts)?);
    }
    edits.sort_by_key(|(range, _)| range.start);
    Some((edits, stays, end))
}

/// Judges `Content-Disposition`: file names hold what people call their files. What can't be read becomes `attachment`, if anything is found in it.
pub(super) fn disposition(policy: &PhiPolicy, text: &str, scene: &Scene<'_>, counts: &mut Counts) -> Line {
    let parsed = || {
        let mut cursor = Cursor::new(text);
        let (mut edits, mut more) = (Vec::new(), Counts::default());
        cursor.skip_space();
        if cursor.run(is_token).is_empty() {
            return None;
        }
        loop {
            cursor.skip_space();
            if cursor.is_at_end() {
                break;
            }
            if !cursor.take(b';') {
                return None;
            }
            cursor.skip_space();
            if cursor.is_at_end() || cursor.peek() == Some(b';') {
                continue;
            }
            edits.extend(judge_text(
                &cursor.param()?,
                &|text| policy.mask_found(text, scene),
                &mut more,
            )?);
        }
        Some((edits, more))
    };
    match parsed() {
        Some((edits, more)) => {
            counts.add(more);
            if edits.is_empty() {
                Line::Keep
            } else {
                Line::Replace(edited(text, &edits))
            }
        }
        None => match policy.judge_free_text(text, Way::Out, scene, counts) {
            Found::Nothing => Line::Keep,
            _ => Line::Replace("attachment".to_owned()),
        },
    }
}

/// Judges a parameter that is a text for people, by what `mask` makes of it; `None` where its name tells something.
fn judge_text(param: &Param<'_>, mask: &dyn Fn(&str) -> Option<String>, counts: &mut Counts) -> Option<Edits> {
    if mask(param.name).is_some() {
        return None;
    }
    let Some(value) = &param.value else {
        return Some(Vec::new());
    };
    let is_extended = param.name.ends_with('*');
    let decoded = if is_extended { extended(&value.text) } else { None };
    let Some(masked) = mask(decoded.as_deref().unwrap_or(&value.text)) else {
        return Some(Vec::new());
    };
    counts.masked = counts.masked.saturating_add(1);
    let masked = if is_extended {
        "UTF-8''***".to_owned()
    } else {
        quote(&masked)
    };
    Some(vec![(value.range.clone(), masked)])
}
