//! Account numbers, and numbers of health plans, certificates and licences.
//!
//! Three ways, of which the first two need no context:
//! IBANs: country, two check digits and as many letters and digits as that country has, in one or in fours (ISO 13616-1; SWIFT, IBAN Registry), MOD 97-10.
//! Payment cards: 13 to 19 digits of Visa, Mastercard, American Express, Discover, Diners Club, JCB or UnionPay, in one or grouped as printed, Luhn
//! (ISO/IEC 7812-1).
//! Labelled ones: `account`, `acct`, `member`, `subscriber`, `policy`, `medicaid`, `license`, `certificate` and so on before, or as the end of the name,
//! then 5 to 20 letters and digits, 4 digits at least, single dashes between. No checksum; a date is none.

use super::checksum::{luhn, mod97};
use super::date;
use super::text::{before, byte, digits, number};

/// Countries and the lengths of their IBANs.
static IBANS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 \
FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 \
MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 \
VG24 XK20 YE30";

/// An IBAN at `at`.
pub(super) fn iban(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (first, second) = (byte(bytes, at), byte(bytes, at.saturating_add(1)));
    if !first.is_ascii_alphabetic() || !second.is_ascii_alphabetic() || digits(bytes, at.saturating_add(2)) < 2 {
        return None;
    }
    let length = IBANS.as_bytes().chunks(5).find_map(|entry| {
        let same = first.eq_ignore_ascii_case(&byte(entry, 0)) && second.eq_ignore_ascii_case(&byte(entry, 1));
        same.then(|| usize::try_from(number(entry, 2, 2)).unwrap_or_default())
    })?;
    let mut iban = [0_u8; 34];
    let mut place = at;
    for (index, slot) in iban.iter_mut().take(length).enumerate() {
        if index > 0 && index % 4 == 0 && matches!(byte(bytes, place), b' ' | b'-') {
            place = place.saturating_add(1);
        }
        *slot = byte(bytes, place);
        if !slot.is_ascii_alphanumeric() {
            return None;
        }
        place = place.saturating_add(1);
    }
    let valid = iban.get(..length).is_some_and(mod97);
    (valid && !byte(bytes, place).is_ascii_alphanumeric()).then_some((at, place))
}

/// A card's number at `at`.
pub(super) fn card(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut card = [0_u8; 19];
    let (mut length, mut place) = (0_usize, at);
    let mut groups = [0_usize; 5];
    let mut mark = 0;
    for (index, group) in groups.iter_mut().enumerate() {
        let run = digits(bytes, place);
        for step in 0..run {
            *card.get_mut(length)? = byte(bytes, place.saturating_add(step));
            length = length.saturating_add(1);
        }
        *group = run;
        place = place.saturating_add(run);
        let next = byte(bytes, place);
        let goes_on = byte(bytes, place.saturating_add(1)).is_ascii_digit();
        if length >= 13 || !matches!(next, b' ' | b'-') || !goes_on || (index > 0 && next != mark) {
            break;
        }
        mark = next;
        place = place.saturating_add(1);
    }
    let printed = matches!(
        groups,
        [13..=19, 0, ..] | [4, 4, 4, 4, 0] | [4, 4, 4, 1..=4, _] | [4, 6, 4 | 5, 0, 0]
    );
    let next = byte(bytes, place);
    let goes_on = next.is_ascii_alphanumeric()
        || (matches!(next, b'-' | b'.') && byte(bytes, place.saturating_add(1)).is_ascii_alphanumeric());
    let fraction = before(bytes, at, 1) == b'.';
    let number = card.get(..length)?;
    let valid = printed && !goes_on && !fraction && is_issued(number) && luhn(number.iter().copied(), 0);
    valid.then_some((at, place))
}

/// Ranges of issuers, by length.
fn is_issued(card: &[u8]) -> bool {
    let first = |length| number(card, 0, length);
    match card.len() {
        13 => first(1) == 4,
        14 => matches!(first(3), 300..=305) || matches!(first(2), 36 | 38 | 39),
        15 => matches!(first(2), 34 | 37),
        16..=19 => {
            let mastercard = card.len() == 16 && (matches!(first(2), 51..=55) || matches!(first(4), 2221..=2720));
            let visa = matches!(card.len(), 16 | 19) && first(1) == 4;
            let discover = first(4) == 6011 || matches!(first(3), 644..=649) || first(2) == 65;
            mastercard || visa || discover || matches!(first(4), 3528..=3589) || first(2) == 62
        }
        _ => false,
    }
}

/// A labelled number at `at`.
pub(super) fn labelled(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let (mut count, mut numerals, mut end) = (0_usize, 0_usize, at);
    for (index, &b) in bytes.get(at..).unwrap_or_default().iter().take(44).enumerate() {
        let place = at.saturating_add(index);
        if b.is_ascii_alphanumeric() {
            count = count.saturating_add(1);
            numerals = numerals.saturating_add(usize::from(b.is_ascii_digit()));
            end = place.saturating_add(1);
        } else if b != b'-' || end != place || index == 0 {
            break;
        }
    }
    let fits = (5..=20).contains(&count) && numerals >= 4;
    let dated = date::at(bytes, at).is_some_and(|date| date.end >= end && byte(bytes, at.saturating_add(4)) == b'-');
    (fits && !dated && !byte(bytes, end).is_ascii_alphanumeric()).then_some((at, end))
}
