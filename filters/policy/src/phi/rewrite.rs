//! Rewriting of raw bytes, and the log-safe rendering.

use std::borrow::Cow;
use std::ops::Range;

use super::detect::{Detector, Finder, Hit};
use crate::url::{Part, Target, decode_once_mapped, push_encoded};

/// What stands in the place of PHI.
pub(super) const MASK: &str = "***";

/// A piece of a target, by its index among the segments or the parameters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Segment(usize),
    Name(usize),
    Value(usize),
}

impl Piece {
    /// Which part of a URL it is.
    pub(super) fn part(self) -> Part {
        match self {
            Piece::Segment(_) => Part::Segment,
            Piece::Name(_) => Part::Name,
            Piece::Value(_) => Part::Value,
        }
    }
}

/// Replacements of byte ranges in the raw target. Ranges may overlap: the first one in the text wins, and grows.
pub(super) struct Edits<'t, 'a> {
    target: &'t Target<'a>,
    edits: Vec<Edit>,
    stripped: Vec<usize>,
}

struct Edit {
    piece: Piece,
    range: Range<usize>,
    text: Cow<'static, str>,
}

impl<'t, 'a> Edits<'t, 'a> {
    pub(super) fn new(target: &'t Target<'a>) -> Self {
        Self {
            target,
            edits: Vec::new(),
            stripped: Vec::new(),
        }
    }

    /// Nothing to rewrite. A path with dot segments always is.
    pub(super) fn is_empty(&self) -> bool {
        self.edits.is_empty() && self.stripped.is_empty() && !self.target.has_dot_segments()
    }

    pub(super) fn replace(&mut self, piece: Piece, range: Range<usize>, text: Cow<'static, str>) {
        self.edits.push(Edit { piece, range, text });
    }

    /// Takes a segment out with the slash before it, a parameter with its separator.
    pub(super) fn strip(&mut self, piece: Piece) {
        match piece {
            Piece::Segment(index) => {
                let range = self.target.segments().get(index).map(|s| s.range()).unwrap_or_default();
                let range = range.start.saturating_sub(1)..range.end;
                self.edits.push(Edit {
                    piece,
                    range,
                    text: Cow::Borrowed(""),
                });
            }
            Piece::Name(index) | Piece::Value(index) => self.stripped.push(index),
        }
    }

    pub(super) fn apply(mut self) -> Vec<u8> {
        self.edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
        let target = self.target;
        let path = target.path_range();
        let mut out = Vec::with_capacity(target.raw().len().saturating_add(64));
        if target.has_dot_segments() {
            let mut canonical = String::new();
            target.render_origin(&mut canonical);
            let segment = |index| self.edits.iter().find(|edit| edit.piece == Piece::Segment(index));
            // A stretch within a segment is not at hand in the canonical text: the whole segment goes.
            target.render_path(&mut canonical, |index, _| segment(index).map(|edit| &*edit.text));
            out.extend_from_slice(canonical.as_bytes());
        } else {
            self.copy(&mut out, 0..path.end);
            if out.len() == path.start || path.is_empty() {
                out.push(b'/');
            }
        }
        self.query(&mut out, path.end);
        out
    }

    fn query(&self, out: &mut Vec<u8>, start: usize) {
        let end = self.target.raw().len();
        if self.stripped.is_empty() {
            return self.copy(out, start..end);
        }
        let mut separator = b'?';
        for (index, parameter) in self.target.parameters().iter().enumerate() {
            if self.stripped.contains(&index) {
                continue;
            }
            out.push(separator);
            separator = b'&';
            self.copy(out, parameter.range());
        }
    }

    /// Copies a range of the raw target with the edits in it.
    fn copy(&self, out: &mut Vec<u8>, range: Range<usize>) {
        let raw = self.target.raw();
        let mut at = range.start;
        for edit in self
            .edits
            .iter()
            .filter(|edit| edit.range.start >= range.start && edit.range.end <= range.end)
        {
            if edit.range.start < at {
                at = at.max(edit.range.end);
                continue;
            }
            out.extend_from_slice(raw.get(at..edit.range.start).unwrap_or_default());
            out.extend_from_slice(edit.text.as_bytes());
            at = edit.range.end;
        }
        out.extend_from_slice(raw.get(at..range.end).unwrap_or_default());
    }
}

/// What is masked in the log.
#[derive(Default)]
pub(super) struct LogMasks {
    masks: Vec<(Piece, Option<Range<usize>>)>,
}

impl LogMasks {
    pub(super) fn whole(&mut self, piece: Piece) {
        self.masks.push((piece, None));
    }

    /// Masks stretches of the piece's canonical text.
    pub(super) fn stretches(&mut self, piece: Piece, hits: &[Hit]) {
        self.masks
            .extend(hits.iter().map(|hit| (piece, Some(hit.start..hit.end))));
    }

    /// The target in canonical percent-encoded ASCII with the masks in place.
    pub(super) fn render<'t>(mut self, target: &'t Target<'_>) -> Cow<'t, str> {
        if self.masks.is_empty() && target.is_canonical() {
            return Cow::Borrowed(std::str::from_utf8(target.raw()).unwrap_or("-"));
        }
        // Whole pieces come first, then stretches in order.
        self.masks
            .sort_by_key(|(piece, range)| (order(*piece), range.as_ref().map(|range| range.start)));
        let mut next = self.masks.as_slice();
        let mut out = String::with_capacity(target.raw().len().saturating_add(16));
        target.render_origin(&mut out);
        if target.segments().is_empty() {
            target.render_path(&mut out, |_, _| None);
        }
        for (index, segment) in target.segments().iter().enumerate() {
            out.push('/');
            push_masked(&mut out, segment.text(), Piece::Segment(index), &mut next);
        }
        if target.has_trailing_slash() {
            out.push('/');
        }
        let mut separator = '?';
        for (index, parameter) in target.parameters().iter().enumerate() {
            out.push(separator);
            separator = '&';
            push_masked(&mut out, parameter.name(), Piece::Name(index), &mut next);
            if parameter.has_value() {
                out.push('=');
                push_masked(&mut out, parameter.value(), Piece::Value(index), &mut next);
            }
        }
        Cow::Owned(out)
    }
}

/// The order of pieces in a target.
fn order(piece: Piece) -> (usize, usize) {
    match piece {
        Piece::Segment(index) => (0, index),
        Piece::Name(index) => (1, index.saturating_mul(2)),
        Piece::Value(index) => (1, index.saturating_mul(2).saturating_add(1)),
    }
}

fn push_masked(out: &mut String, text: &str, piece: Piece, next: &mut &[(Piece, Option<Range<usize>>)]) {
    let part = piece.part();
    let count = next.iter().take_while(|(of, _)| *of == piece).count();
    let (masks, rest) = next.split_at_checked(count).unwrap_or((&[], &[]));
    *next = rest;
    if masks.iter().any(|(_, range)| range.is_none()) {
        return out.push_str(MASK);
    }
    let mut at = 0;
    for range in masks.iter().filter_map(|(_, range)| range.as_ref()) {
        push_encoded(out, text.get(at..range.start).unwrap_or_default(), part);
        out.push_str(MASK);
        at = range.end;
    }
    push_encoded(out, text.get(at..).unwrap_or_default(), part);
}

/// Where stretches of a decoded text stand in its raw bytes; `None` where that is not plain: escapes within escapes, or a
/// raw `+` beside an address, where it may mean itself or a space.
pub(super) fn locate(raw: &[u8], text: &str, query: bool, hits: &[Hit]) -> Option<Vec<Range<usize>>> {
    let plus = query && memchr::memchr(b'+', raw).is_some();
    if plus && hits.iter().any(|hit| hit.finder == Finder::Known(Detector::Email)) {
        return None;
    }
    if raw == text.as_bytes() && !plus {
        return Some(hits.iter().map(|hit| hit.start..hit.end).collect());
    }
    if !decode_once_mapped(raw, query).map(|(byte, _)| byte).eq(text.bytes()) {
        return None;
    }
    let mut found = Vec::with_capacity(hits.len());
    let mut bytes = decode_once_mapped(raw, query).enumerate();
    for hit in hits {
        let (_, (_, first)) = bytes.find(|(index, _)| *index == hit.start)?;
        let last = hit.end.checked_sub(1)?;
        let end = if last == hit.start {
            first.end
        } else {
            bytes
                .find(|(index, _)| *index == last)
                .map(|(_, (_, range))| range.end)?
        };
        found.push(first.start..end);
    }
    Some(found)
}
