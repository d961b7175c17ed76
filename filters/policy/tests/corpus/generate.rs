//! Makes the corpus: the same from the same seed, on every machine. Nothing in it belongs to anybody.

use std::fmt::Write as _;

use scrim_policy::phi::Detector;

/// How many URLs with an identifier each recogniser gets.
pub const POSITIVES: usize = 300;
/// How many harmless URLs of each kind there are.
pub const HARMLESS: usize = 40;

/// SplitMix64 (Steele, Lea, Flood, 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    fn from(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    fn pick<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[self.from(0, of.len() as u64 - 1) as usize]
    }

    fn of(&mut self, alphabet: &str, length: u64) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length)
            .map(|_| letters[self.from(0, letters.len() as u64 - 1) as usize])
            .collect()
    }

    fn digits(&mut self, length: u64) -> String {
        self.of("0123456789", length)
    }

    fn hex(&mut self, length: u64) -> String {
        self.of("0123456789abcdef", length)
    }
}

const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const GIVEN: [&str; 12] = [
    "ada", "peter", "maria", "jose", "li", "fatima", "olga", "kofi", "yuki", "sam", "nadia", "tom",
];
const FAMILY: [&str; 12] = [
    "lovelace", "chalmers", "garcia", "nguyen", "smith", "okafor", "ivanova", "kim", "silva", "cohen", "singh", "meyer",
];
const STREETS: [&str; 10] = [
    "Main",
    "Oak",
    "Maple Hill",
    "Washington",
    "2nd",
    "Old Mill",
    "Park",
    "Cedar",
    "Lake View",
    "Martin Luther King",
];
const CITIES: [&str; 10] = [
    "Springfield",
    "New Bedford",
    "Cambridge",
    "St. Paul",
    "Winston-Salem",
    "El Paso",
    "Fargo",
    "Boise",
    "Mobile",
    "Reno",
];
const STATES: [&str; 6] = ["MA", "TX", "CA", "NY", "ND", "ID"];
const MONTHS: [&str; 6] = ["January", "Mar", "May", "August", "Sept", "December"];

/// A text with an identifier in it.
pub struct Sample {
    /// How it is written.
    pub kind: &'static str,
    text: String,
    /// The identifier itself.
    pub value: String,
    names: &'static [&'static str],
}

/// A URL with an identifier.
pub struct Positive {
    /// How it is written.
    pub kind: &'static str,
    /// The identifier.
    pub value: String,
    /// The request target.
    pub url: String,
}

const NEUTRAL: [&str; 8] = ["q", "note", "text", "ref", "value", "search", "comment", "key"];

/// The URLs in which this recogniser is to find something.
pub fn positives(detector: Detector) -> Vec<Positive> {
    let mut random = Random::new(detector.code().bytes().fold(7, |seed, b| seed * 31 + u64::from(b)));
    (0..POSITIVES)
        .map(|index| {
            let sample = sample(detector, index, &mut random);
            let url = place(&sample, index, &mut random);
            Positive {
                kind: sample.kind,
                value: sample.value,
                url,
            }
        })
        .collect()
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        let _ = write!(out, "%{b:02X}");
        out
    })
}

/// As `encodeURIComponent` writes it.
fn component(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// As a browser's form or a careless client writes it.
fn form(text: &str, plain: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if c == ' ' {
            out.push('+');
        } else if c.is_ascii_alphanumeric() || plain.contains(c) {
            out.push(c);
        } else {
            out.push_str(&percent(&c.to_string()));
        }
        out
    })
}

fn wide(text: &str) -> String {
    let wide = |c: char| {
        char::from_u32(u32::from(c) + 0xfee0)
            .filter(|_| c.is_ascii_digit())
            .unwrap_or(c)
    };
    component(&text.chars().map(wide).collect::<String>())
}

/// A URL with the sample in it, one shape after another.
fn place(sample: &Sample, index: usize, random: &mut Random) -> String {
    let name = if sample.names.is_empty() {
        random.pick(&NEUTRAL)
    } else {
        random.pick(sample.names)
    };
    let text = &sample.text;
    // An encoded slash in a path is refused before anything is judged.
    let in_path = !text.contains(['/', '?', '#', '%', ';', '\\']);
    let bare = sample.names.is_empty();
    match (index / 3) % 10 {
        0 => format!("/api/search?{name}={}", component(text)),
        1 => format!(
            "/fhir/Observation?_count=10&{name}={}&_sort=-date",
            form(text, "-_.:/@|,()")
        ),
        2 if in_path && bare => format!("/v1/records/{}", component(text)),
        2 if in_path => format!("/v1/{name}/{}", component(text)),
        3 => format!("/v1/lookup?page=2&{name}={}", percent(text)),
        4 if bare => format!("/v1/tickets?{name}=re+{}+today", form(text, "-_.:/@|,()")),
        5 => format!("/fhir/Basic?{name}=active,{}", component(text)),
        6 => format!("/v1/lookup?{name}={}", component(&component(text))),
        7 => format!("/v1/lookup?{name}={}&lang=en", wide(text)),
        8 if in_path && bare => format!("/files/{}/page/2", form(text, "-_.:@|,()").replace('+', "%20")),
        8 if in_path => format!("/files/{name}/{}/page/2", component(text)),
        9 if bare => format!(
            "/fhir/Basic?{name}={}",
            component(&format!("http://example.org/id|{text}"))
        ),
        _ => format!("/v2/items?limit=50&{name}={}&cursor=eyJpZCI6MTJ9", form(text, "-_.:")),
    }
}

fn sample(detector: Detector, index: usize, random: &mut Random) -> Sample {
    let make = |kind, text: String, value: String, names| Sample {
        kind,
        text,
        value,
        names,
    };
    let same = |kind, text: String, names| Sample {
        kind,
        value: text.clone(),
        text,
        names,
    };
    let r = random;
    match detector {
        Detector::Ssn => {
            let area = loop {
                let area = r.from(1, 899);
                if area != 666 {
                    break format!("{area:03}");
                }
            };
            let (group, serial) = (format!("{:02}", r.from(1, 99)), format!("{:04}", r.from(1, 9999)));
            let with = |s: &str| format!("{area}{s}{group}{s}{serial}");
            match index % 9 {
                0 | 1 => same("dashes", with("-"), &[]),
                2 => same("blanks", with(" "), &[]),
                3 => same("dots", with("."), &[]),
                4 | 5 => same("bare", with(""), &[]),
                6 => same("named", with("-"), &["ssn", "social-security"]),
                7 => make(
                    "in a system",
                    format!("http://hl7.org/fhir/sid/us-ssn|{}", with("")),
                    with(""),
                    &["identifier"],
                ),
                _ => same("underscores", with("_"), &["ssn"]),
            }
        }
        Detector::Email => {
            let (given, family) = (r.pick(&GIVEN), r.pick(&FAMILY));
            let domain = r.pick(&["example.org", "mail.example.co.uk", "clinic-one.example", "example.com"]);
            match index % 8 {
                0 | 1 => same("plain", format!("{given}.{family}@{domain}"), &[]),
                2 => same("digits", format!("{given}{}@{domain}", r.digits(3)), &[]),
                3 => same("tag", format!("{given}+{family}@{domain}"), &[]),
                4 => make(
                    "mailto",
                    format!("mailto:{given}@{domain}"),
                    format!("{given}@{domain}"),
                    &[],
                ),
                5 => make(
                    "angle brackets",
                    format!("{given} <{family}_x@{domain}>"),
                    format!("{family}_x@{domain}"),
                    &[],
                ),
                6 => same("named", format!("{family}-{given}@{domain}"), &["email", "telecom"]),
                _ if index % 16 == 7 => same("spelled out", format!("{given} at {family} dot example dot org"), &[]),
                _ => same("address literal", format!("{given}@[192.0.2.{}]", r.from(1, 254)), &[]),
            }
        }
        Detector::Phone => {
            let area = loop {
                let area = r.from(201, 989);
                if area / 10 % 10 != 9 && area % 100 != 11 {
                    break area;
                }
            };
            let exchange = loop {
                let exchange = r.from(220, 989);
                if exchange % 100 != 11 {
                    break exchange;
                }
            };
            let line = r.digits(4);
            match index % 12 {
                0 => same("dashes", format!("{area}-{exchange}-{line}"), &[]),
                1 => same("brackets", format!("({area}) {exchange}-{line}"), &[]),
                2 => same("dots", format!("{area}.{exchange}.{line}"), &[]),
                3 => same("blanks", format!("{area} {exchange} {line}"), &[]),
                4 | 5 => same("bare", format!("{area}{exchange}{line}"), &[]),
                6 => same("country code", format!("+1 {area} {exchange} {line}"), &[]),
                7 => same(
                    "country code, bare",
                    format!("+1{area}{exchange}{line}"),
                    &["phone", "fax"],
                ),
                8 => make(
                    "tel URI",
                    format!("tel:{area}-{exchange}-{line}"),
                    format!("{area}-{exchange}-{line}"),
                    &["telecom"],
                ),
                9 => same("abroad", format!("+44 20 7946 {line}"), &[]),
                10 => same("abroad without plus", format!("020 7946 {line}"), &["phone", "fax"]),
                _ => same("local", format!("{exchange}-{line}"), &["phone"]),
            }
        }
        Detector::Mrn => {
            let seven = format!("{}{}", r.from(1, 9), r.digits(6));
            match index % 10 {
                0 | 1 => same("named", seven, &["mrn", "patient_mrn", "MRN"]),
                2 => same(
                    "named, with a letter",
                    format!("{}{}", r.of(UPPER, 1), r.digits(7)),
                    &["mrn", "patientMrn"],
                ),
                3 => make("labelled", format!("MRN {seven}"), seven.clone(), &[]),
                4 => make("colon", format!("MRN:{seven}"), seven.clone(), &[]),
                5 => make("hash", format!("MRN #{seven}"), seven.clone(), &[]),
                6 => make("grown together", format!("MRN{seven}"), seven.clone(), &[]),
                7 => make(
                    "in a system",
                    format!("http://hospital.example/mrn|{seven}"),
                    seven.clone(),
                    &["identifier"],
                ),
                8 => make(
                    "spelled out",
                    format!("medical record number {seven}"),
                    seven.clone(),
                    &[],
                ),
                _ => {
                    let twelve = r.of("123456789", 12);
                    make("twelve digits", format!("MRN {twelve}"), twelve, &[])
                }
            }
        }
        Detector::Npi => {
            let body = format!("{}{}", r.from(1, 2), r.digits(8));
            let npi = format!("{body}{}", luhn(&format!("80840{body}")));
            match index % 10 {
                0 | 1 => same("named", npi, &["npi", "provider_npi", "npiNumber"]),
                2 => same("named provider", npi, &["provider", "prescriber"]),
                3 => make("labelled", format!("NPI {npi}"), npi.clone(), &[]),
                4 => make("labelled number", format!("NPI number: {npi}"), npi.clone(), &[]),
                5 | 6 => make(
                    "in a system",
                    format!("http://hl7.org/fhir/sid/us-npi|{npi}"),
                    npi.clone(),
                    &["identifier", "performer.identifier"],
                ),
                7 => same("with prefix", format!("80840{npi}"), &[]),
                8 => make("grown together", format!("npi{npi}"), npi.clone(), &[]),
                _ => same("without a label", npi, &["doctor", "ref"]),
            }
        }
        Detector::Dea => {
            let six = r.digits(6);
            let place = |n: usize| u64::from(six.as_bytes()[n] - b'0');
            let check = (place(0) + place(2) + place(4) + 2 * (place(1) + place(3) + place(5))) % 10;
            let kind = r.pick(&["A", "B", "F", "M"]);
            let name = r.of(UPPER, 1);
            match index % 8 {
                0 | 1 => same("bare", format!("{kind}{name}{six}{check}"), &[]),
                2 => same(
                    "named",
                    format!("{kind}{name}{six}{check}"),
                    &["dea", "dea_number", "prescriberDea"],
                ),
                3 => same("small letters", format!("{kind}{name}{six}{check}").to_lowercase(), &[]),
                4 => same("a business", format!("{kind}9{six}{check}"), &[]),
                5 => make(
                    "labelled, with a dash",
                    format!("DEA# {kind}{name}-{six}{check}"),
                    format!("{kind}{name}-{six}{check}"),
                    &[],
                ),
                6 => make(
                    "with a suffix",
                    format!("{kind}{name}{six}{check}-012"),
                    format!("{kind}{name}{six}{check}"),
                    &[],
                ),
                _ => same("a rare type of registrant", format!("X{name}{six}{check}"), &[]),
            }
        }
        Detector::Mbi => {
            const LETTERS: &str = "ACDEFGHJKMNPQRTUVWXY";
            const EITHER: &str = "ACDEFGHJKMNPQRTUVWXY0123456789";
            let id = format!(
                "{}{}{}{}{}{}{}{}{}",
                r.from(1, 9),
                r.of(LETTERS, 1),
                r.of(EITHER, 1),
                r.digits(1),
                r.of(LETTERS, 1),
                r.of(EITHER, 1),
                r.digits(1),
                r.of(LETTERS, 2),
                r.digits(2)
            );
            let dashed = |s: &str| format!("{}{s}{}{s}{}", &id[..4], &id[4..7], &id[7..]);
            match index % 8 {
                0 | 1 => same("bare", id, &[]),
                2 | 3 => same("dashes", dashed("-"), &[]),
                4 => same("blanks", dashed(" "), &["mbi", "medicare"]),
                5 => same("small letters", id.to_lowercase(), &[]),
                6 => make(
                    "in a system",
                    format!("http://hl7.org/fhir/sid/us-mbi|{id}"),
                    id.clone(),
                    &["identifier"],
                ),
                _ => {
                    let claim = format!("{:09}A", r.from(1_010_001, 665_999_999));
                    make("a claim number", format!("HICN {claim}"), claim.clone(), &[])
                }
            }
        }
        Detector::BirthDate => {
            let (year, month, day) = (r.from(1930, 2024), r.from(1, 12), r.from(1, 28));
            let iso = format!("{year}-{month:02}-{day:02}");
            let name = r.pick(&MONTHS);
            match index % 14 {
                0 | 1 => same("named", iso, &["dob", "birthdate", "birth_date", "dateOfBirth"]),
                2 => make(
                    "named, with a prefix",
                    format!("{}{iso}", r.pick(&["eq", "ge", "lt", "sa"])),
                    iso.clone(),
                    &["birthdate", "patient-birthdate"],
                ),
                3 => same("named, US", format!("{month:02}/{day:02}/{year}"), &["dob", "born"]),
                4 => same(
                    "named, eight digits",
                    format!("{year}{month:02}{day:02}"),
                    &["dob", "birth-date"],
                ),
                5 => make("labelled", format!("DOB {iso}"), iso.clone(), &[]),
                6 => make(
                    "labelled, US",
                    format!("DOB: {month}/{day}/{year}"),
                    format!("{month}/{day}/{year}"),
                    &[],
                ),
                7 => make(
                    "born",
                    format!("born on {day} {name} {year}"),
                    format!("{day} {name} {year}"),
                    &[],
                ),
                8 => make(
                    "labelled, month first",
                    format!("date of birth {name} {day}, {year}"),
                    format!("{name} {day}, {year}"),
                    &[],
                ),
                9 => same(
                    "named, two-digit year",
                    format!("{month}/{day}/{:02}", year % 100),
                    &["dob"],
                ),
                10 => same("named, month only", format!("{year}-{month:02}"), &["birthdate"]),
                11 => make("label behind", format!("{iso} (DOB)"), iso.clone(), &[]),
                12 => same("named otherwise", iso, &["bd", "geboortedatum"]),
                _ => make(
                    "in words",
                    format!("born the {day}th of {name} {year}"),
                    format!("{name} {year}"),
                    &[],
                ),
            }
        }
        Detector::Ip => {
            let v4 = format!(
                "{}.{}.{}.{}",
                r.from(11, 223),
                r.from(0, 255),
                r.from(0, 255),
                r.from(1, 254)
            );
            let v6 = format!(
                "2001:db8:{}:{}::{}",
                r.of("123456789abcdef", 3),
                r.of("123456789abcdef", 4),
                r.of("123456789", 2)
            );
            match index % 9 {
                0 | 1 => same("v4", v4, &[]),
                2 => same("v4, named", v4, &["ip", "client_ip", "remoteAddr"]),
                3 => make("v4, with a port", format!("{v4}:8443"), v4.clone(), &[]),
                4 => make("v4, labelled", format!("from IP {v4}"), v4.clone(), &[]),
                5 => same("v6", v6, &[]),
                6 => make("v6, brackets", format!("[{v6}]"), v6.clone(), &[]),
                7 => same(
                    "v4, single digits",
                    format!("{}.{}.{}.{}", r.from(1, 9), r.from(1, 9), r.from(1, 9), r.from(1, 9)),
                    &[],
                ),
                _ => same(
                    "v4 as a number",
                    format!("{}", r.from(184_549_376, 3_758_096_383)),
                    &["ip"],
                ),
            }
        }
        Detector::Mac => {
            let pairs: Vec<String> = (0..6)
                .map(|at| if at == 0 { format!("{}a", r.hex(1)) } else { r.hex(2) })
                .collect();
            match index % 8 {
                0 | 1 => same("colons", pairs.join(":"), &[]),
                2 => same("colons, capitals", pairs.join(":").to_uppercase(), &[]),
                3 | 4 => same("dashes", pairs.join("-"), &[]),
                5 => same(
                    "dots",
                    format!(
                        "{}.{}.{}",
                        pairs[..2].concat(),
                        pairs[2..4].concat(),
                        pairs[4..].concat()
                    ),
                    &[],
                ),
                6 => same("bare, named", pairs.concat(), &["mac", "mac_address", "deviceMac"]),
                _ => same("bare, without a label", pairs.concat(), &["device", "ref"]),
            }
        }
        Detector::Account => {
            let digits = r.digits(14);
            let visa = format!("4{digits}{}", luhn(&format!("4{digits}")));
            let groups = |s: &str| [&visa[..4], &visa[4..8], &visa[8..12], &visa[12..]].join(s);
            let ten = format!("{}{}", r.from(1, 9), r.digits(8));
            match index % 14 {
                0 => same("card", visa, &[]),
                1 => same("card, blanks", groups(" "), &[]),
                2 => same("card, dashes", groups("-"), &["card", "q"]),
                3 => {
                    let body = format!("37{}", r.digits(12));
                    same("card, American Express", format!("{body}{}", luhn(&body)), &[])
                }
                4 => same("IBAN", iban("DE", &r.digits(18)), &[]),
                5 => {
                    let iban = iban("GB", &format!("{}{}", r.of(UPPER, 4), r.digits(14)));
                    let fours: Vec<&str> = iban
                        .as_bytes()
                        .chunks(4)
                        .filter_map(|four| std::str::from_utf8(four).ok())
                        .collect();
                    same("IBAN, fours", fours.join(" "), &[])
                }
                6 | 7 => same("account, named", ten, &["account", "acct_no", "accountNumber"]),
                8 => make("account, labelled", format!("acct# {ten}"), ten.clone(), &[]),
                9 => same(
                    "member, named",
                    format!("{}{ten}", r.of(UPPER, 3)),
                    &["member_id", "subscriberId"],
                ),
                10 => make("policy, labelled", format!("policy number {ten}"), ten.clone(), &[]),
                11 => same(
                    "license, named",
                    format!("{}{}", r.of(UPPER, 1), r.digits(7)),
                    &["license", "driversLicense"],
                ),
                12 => same(
                    "account without a label",
                    format!("{}{}", r.from(1, 9), r.digits(11)),
                    &["payer", "ref"],
                ),
                _ => {
                    let last = r.digits(4);
                    make("last four", format!("account ending {last}"), last, &[])
                }
            }
        }
        Detector::Plate => {
            let (letters, digits) = (r.of("ABCDEFGHJKLMNPRSTUVWXYZ", 3), r.digits(4));
            match index % 8 {
                0 | 1 => same(
                    "named",
                    format!("{letters}{digits}"),
                    &["plate", "license_plate", "licensePlate"],
                ),
                2 => same(
                    "named, with a dash",
                    format!("{letters}-{digits}"),
                    &["plate", "plateNumber"],
                ),
                3 => same(
                    "named, digits first",
                    format!("{}{letters}{}", r.from(1, 9), r.digits(3)),
                    &["plate"],
                ),
                4 => make(
                    "labelled",
                    format!("license plate {letters} {digits}"),
                    format!("{letters} {digits}"),
                    &[],
                ),
                5 => make(
                    "labelled, short",
                    format!("plate: {letters}{digits}"),
                    format!("{letters}{digits}"),
                    &[],
                ),
                6 => same("letters alone", r.of("ABCDEFGHJKLMNPRSTUVWXYZ", 6), &["plate"]),
                _ => same("without a label", format!("{letters}{digits}"), &["vehicle_tag", "car"]),
            }
        }
        Detector::Vin => {
            let head = format!("{}{}", r.pick(&["1HGCM826", "5YJSA1E2", "WBA3A5C5", "JH4KA966"]), "");
            let tail = format!(
                "{}{}{}",
                r.of("ABCDEFGHJKLMNPRSTVWXY123456789", 1),
                r.of("ABCDEFGHJKLMNPRSTUVWXYZ", 1),
                r.digits(6)
            );
            let vin = vin(&head, &tail);
            match index % 8 {
                0..=2 => same("bare", vin, &[]),
                3 => same("named", vin, &["vin", "vehicle"]),
                4 => same("small letters", vin.to_lowercase(), &[]),
                5 => make("labelled", format!("VIN: {vin}"), vin.clone(), &[]),
                6 => same("bare", vin, &["ref"]),
                _ => {
                    // Outside North America the ninth is any letter or digit.
                    let check = if vin.as_bytes()[8] == b'Z' { "A" } else { "Z" };
                    same("no check digit", format!("{}{check}{}", &vin[..8], &vin[9..]), &["vin"])
                }
            }
        }
        Detector::Url => {
            let (given, family) = (r.pick(&GIVEN), r.pick(&FAMILY));
            match index % 8 {
                0 | 1 => same("https", format!("https://{given}-{family}.example.org/about"), &[]),
                2 => same("http", format!("http://people.example.org/~{given}"), &[]),
                3 => same(
                    "with a query",
                    format!("https://social.example/profile?user={given}{family}"),
                    &[],
                ),
                4 => same("www", format!("www.{family}-family.example"), &[]),
                5 => make(
                    "in a sentence",
                    format!("see http://blog.example/{given}/1 for more"),
                    format!("http://blog.example/{given}/1"),
                    &[],
                ),
                6 => same(
                    "a reference",
                    format!("https://fhir.example.org/Patient/{}", r.from(100, 99999)),
                    &["subject", "patient"],
                ),
                _ => same("without a scheme", format!("{family}.example.org/~{given}"), &[]),
            }
        }
        Detector::Geo => {
            let number = r.from(1, 9999);
            let street = r.pick(&STREETS);
            let (city, zip) = (r.pick(&CITIES), format!("{:05}", r.from(501, 99950)));
            match index % 16 {
                0 | 1 => same(
                    "street",
                    format!(
                        "{number} {street} {}",
                        r.pick(&["St", "Street", "Avenue", "Rd", "Blvd"])
                    ),
                    &[],
                ),
                2 => same(
                    "street, named",
                    format!("{number} {street} {}", r.pick(&["Ct", "Dr", "Way", "St", "Lane"])),
                    &["address", "street", "addr"],
                ),
                3 => same(
                    "street, dashes",
                    format!("{number}-{}-street", street.to_lowercase().replace(' ', "-")),
                    &[],
                ),
                4 => same("PO box", format!("P.O. Box {number}"), &[]),
                5 | 6 => same(
                    "ZIP, named",
                    zip,
                    &["zip", "zipcode", "address-postalcode", "postal_code"],
                ),
                7 => same("ZIP+4, named", format!("{zip}-{}", r.digits(4)), &["zip", "postalCode"]),
                8 => make("ZIP, labelled", format!("ZIP code {zip}"), zip.clone(), &[]),
                9 => make(
                    "ZIP after a state",
                    format!("{city}, {} {zip}", r.pick(&STATES)),
                    zip.clone(),
                    &[],
                ),
                10 => same("city, named", city.to_owned(), &["city", "address-city", "town"]),
                11 => same(
                    "county",
                    format!("{} County", r.pick(&["Suffolk", "Orange", "Cook", "Harris"])),
                    &[],
                ),
                12 => same(
                    "position, named",
                    format!("{}.{}", r.from(25, 48), r.digits(5)),
                    &["lat", "latitude"],
                ),
                13 => same("city without a label", city.to_owned(), &["q", "where"]),
                14 => same("ZIP without a label", zip, &["q", "area"]),
                _ => same(
                    "abroad",
                    format!("SW{}A {}AA", r.from(1, 9), r.from(1, 9)),
                    &["postcode"],
                ),
            }
        }
    }
}

fn luhn(body: &str) -> u64 {
    let sum: u64 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, b)| {
            let value = u64::from(b - b'0') * if place % 2 == 0 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    (10 - sum % 10) % 10
}

fn iban(country: &str, account: &str) -> String {
    let rest = format!("{account}{country}00").bytes().fold(0, |rest: u64, b| match b {
        b'0'..=b'9' => (rest * 10 + u64::from(b - b'0')) % 97,
        _ => (rest * 100 + u64::from(b - b'A') + 10) % 97,
    });
    format!("{country}{:02}{account}", 98 - rest)
}

fn vin(head: &str, tail: &str) -> String {
    let value = |b: u8| match b {
        b'0'..=b'9' => u64::from(b - b'0'),
        b'A'..=b'H' => u64::from(b - b'A') + 1,
        b'J'..=b'N' => u64::from(b - b'J') + 1,
        b'P' => 7,
        b'R' => 9,
        _ => u64::from(b - b'S') + 2,
    };
    let weights = [8, 7, 6, 5, 4, 3, 2, 10, 9, 8, 7, 6, 5, 4, 3, 2];
    let sum: u64 = head
        .bytes()
        .chain(tail.bytes())
        .zip(weights)
        .map(|(b, weight)| value(b) * weight)
        .sum();
    let check = if sum % 11 == 10 {
        "X".to_owned()
    } else {
        (sum % 11).to_string()
    };
    format!("{head}{check}{tail}")
}

/// What a harmless kind is called, and how one is made.
type Kind = (&'static str, fn(&mut Random) -> String);

const KINDS: &[Kind] = &[
    ("order number, 6 digits", |r| {
        format!("/orders/{}", r.from(100_000, 999_999))
    }),
    ("order number, 8 digits", |r| {
        format!("/api/orders?number={}", r.from(10_000_000, 99_999_999))
    }),
    ("order number, 9 digits", |r| {
        format!("/orders/{}", r.from(100_000_000, 999_999_999))
    }),
    ("order number, 10 digits", |r| {
        format!("/orders?id={}", r.from(1_000_000_000, 9_999_999_999))
    }),
    ("order number, 12 digits", |r| {
        format!("/orders?id={}", r.from(100_000_000_000, 999_999_999_999))
    }),
    ("order number, 16 digits", |r| {
        format!("/orders?id={}", r.from(1_000_000_000_000_000, 9_999_999_999_999_999))
    }),
    ("order number with letters", |r| {
        format!("/orders/ORD-{}-{}", r.from(2015, 2026), r.digits(6))
    }),
    ("invoice", |r| format!("/billing/invoices/INV{}", r.digits(8))),
    ("two letters and seven digits", |r| {
        format!("/assets/{}{}", r.of(UPPER, 2), r.digits(7))
    }),
    ("ticket", |r| format!("/browse/{}-{}", r.of(UPPER, 3), r.from(1, 99999))),
    ("SKU", |r| {
        format!("/shop/items?sku={}-{}-{}", r.of(UPPER, 3), r.digits(4), r.of(ALNUM, 2))
    }),
    ("tracking, UPS", |r| {
        format!("/track?number=1Z{}{}", r.of(ALNUM, 6), r.digits(10))
    }),
    ("tracking, FedEx", |r| {
        format!("/track?number={}", r.of("123456789", 12))
    }),
    ("tracking, USPS", |r| format!("/track?number=94{}", r.digits(20))),
    ("order number, three parts", |r| {
        format!("/orders/{}-{}-{}", r.digits(3), r.digits(7), r.digits(7))
    }),
    ("ISBN", |r| {
        format!("/books/978-0-{}-{}-{}", r.digits(2), r.digits(6), r.digits(1))
    }),
    ("EAN", |r| format!("/products?ean={}", r.of("123456789", 13))),
    ("LOINC", |r| {
        format!(
            "/fhir/Observation?code=http://loinc.org|{}-{}",
            r.from(1000, 99999),
            r.digits(1)
        )
    }),
    ("LOINC list", |r| {
        format!(
            "/fhir/Observation?code={}-{},{}-{}",
            r.from(1000, 99999),
            r.digits(1),
            r.from(1000, 99999),
            r.digits(1)
        )
    }),
    ("SNOMED CT", |r| {
        format!(
            "/fhir/Condition?code=http://snomed.info/sct|{}",
            r.pick(&[
                "271649006",
                "386661006",
                "44054006",
                "73211009",
                "195967001",
                "38341003",
                "267036007",
                "22298006"
            ])
        )
    }),
    ("SNOMED CT without a system", |r| {
        format!(
            "/fhir/Condition?code={}",
            r.pick(&[
                "271649006",
                "386661006",
                "195967001",
                "267036007",
                "363346000",
                "233604007"
            ])
        )
    }),
    ("ICD-10", |r| {
        format!(
            "/fhir/Condition?code=http://hl7.org/fhir/sid/icd-10-cm|{}{}.{}",
            r.of("ABCDEFGHIJKLM", 1),
            r.digits(2),
            r.digits(2)
        )
    }),
    ("RxNorm", |r| {
        format!(
            "/fhir/MedicationRequest?code=http://www.nlm.nih.gov/research/umls/rxnorm|{}",
            r.from(1000, 2_600_000)
        )
    }),
    ("NDC, three parts", |r| {
        format!(
            "/fhir/Medication?code=http://hl7.org/fhir/sid/ndc|{}-{}-{}",
            r.digits(5),
            r.digits(4),
            r.digits(2)
        )
    }),
    ("NDC, eleven digits", |r| {
        format!("/fhir/Medication?code=http://hl7.org/fhir/sid/ndc|{}", r.digits(11))
    }),
    ("CVX", |r| {
        format!(
            "/fhir/Immunization?vaccine-code=http://hl7.org/fhir/sid/cvx|{}",
            r.from(1, 230)
        )
    }),
    ("CPT", |r| {
        format!(
            "/fhir/Procedure?code=http://www.ama-assn.org/go/cpt|{}",
            r.from(10000, 99499)
        )
    }),
    ("UCUM quantity", |r| {
        format!(
            "/fhir/Observation?value-quantity=gt{}.{}|http://unitsofmeasure.org|mg",
            r.from(1, 400),
            r.digits(1)
        )
    }),
    ("UUID", |r| {
        format!(
            "/fhir/Observation/{}-{}-4{}-a{}-{}",
            r.hex(8),
            r.hex(4),
            r.hex(3),
            r.hex(3),
            r.hex(12)
        )
    }),
    ("UUID in a query", |r| {
        format!(
            "/fhir?_getpages={}-{}-4{}-b{}-{}&_getpagesoffset={}",
            r.hex(8),
            r.hex(4),
            r.hex(3),
            r.hex(3),
            r.hex(12),
            r.from(1, 900)
        )
    }),
    ("OID", |r| {
        format!(
            "/fhir/ValueSet?url=urn:oid:2.16.840.1.{}.{}.{}.{}",
            r.from(100_000, 120_000),
            r.from(1, 12),
            r.from(1, 300),
            r.from(1, 9)
        )
    }),
    ("ULID", |r| {
        format!("/events/01{}", r.of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24))
    }),
    ("short id", |r| format!("/v/{}", r.of(BASE64, 11))),
    ("KSUID", |r| {
        format!(
            "/events/{}",
            r.of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 27)
        )
    }),
    ("snowflake", |r| {
        format!(
            "/statuses/{}",
            r.from(100_000_000_000_000_000, 1_799_999_999_999_999_999)
        )
    }),
    ("Mongo id", |r| format!("/docs/{}", r.hex(24))),
    ("MD5", |r| format!("/static/app.{}.js", r.hex(32))),
    ("SHA-256", |r| format!("/blobs/sha256:{}", r.hex(64))),
    ("short commit", |r| format!("/commit/{}", r.hex(7))),
    ("base64", |r| format!("/next?token={}", r.of(BASE64, 48))),
    ("page cursor", |r| {
        format!("/fhir/Observation?_page_token={}%3D%3D", r.of(BASE64, 22))
    }),
    ("seventeen letters and digits", |r| {
        format!("/batches/{}", r.of("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", 17))
    }),
    ("semantic version", |r| {
        format!("/download/{}.{}.{}", r.from(0, 12), r.from(0, 40), r.from(0, 99))
    }),
    ("version, four parts", |r| {
        format!(
            "/download?version={}.{}.{}.{}",
            r.from(1, 20),
            r.from(0, 99),
            r.from(0, 255),
            r.from(0, 255)
        )
    }),
    ("version, four parts after a product", |r| {
        format!(
            "/search?q=driver+{}.{}.{}.{}",
            r.from(10, 25),
            r.from(0, 30),
            r.from(0, 99),
            r.from(0, 40)
        )
    }),
    ("version, four parts in a path", |r| {
        format!(
            "/releases/{}.{}.{}.{}",
            r.from(10, 25),
            r.from(0, 30),
            r.from(0, 99),
            r.from(0, 40)
        )
    }),
    ("browser", |r| {
        format!(
            "/beacon?ua=Chrome/{}.0.{}.{}",
            r.from(90, 130),
            r.from(1000, 6999),
            r.from(10, 250)
        )
    }),
    ("Unix time", |r| {
        format!("/metrics?since={}", r.from(1_500_000_000, 1_800_000_000))
    }),
    ("Unix time, milliseconds", |r| {
        format!(
            "/metrics?from={}&to={}",
            r.from(1_500_000_000_000, 1_700_000_000_000),
            r.from(1_700_000_000_000, 1_800_000_000_000)
        )
    }),
    ("date", |r| {
        format!(
            "/fhir/Observation?date=ge{}-{:02}-{:02}",
            r.from(2000, 2026),
            r.from(1, 12),
            r.from(1, 28)
        )
    }),
    ("date, eight digits", |r| {
        format!(
            "/reports/{}{:02}{:02}",
            r.from(2000, 2026),
            r.from(1, 12),
            r.from(1, 28)
        )
    }),
    ("date and time", |r| {
        format!(
            "/fhir/Patient?_lastUpdated=gt{}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            r.from(2015, 2026),
            r.from(1, 12),
            r.from(1, 28),
            r.from(0, 23),
            r.from(0, 59),
            r.from(0, 59)
        )
    }),
    ("date and time with a zone", |r| {
        format!(
            "/fhir/Observation?date={}-{:02}-{:02}T{:02}:{:02}:00.{}%2B01:00",
            r.from(2015, 2026),
            r.from(1, 12),
            r.from(1, 28),
            r.from(0, 23),
            r.from(0, 59),
            r.digits(3)
        )
    }),
    ("date and time, digits", |r| {
        format!(
            "/exports/{}{:02}{:02}{:02}{:02}{:02}",
            r.from(2015, 2026),
            r.from(1, 12),
            r.from(1, 28),
            r.from(0, 23),
            r.from(0, 59),
            r.from(0, 59)
        )
    }),
    ("US date", |r| {
        format!(
            "/schedule?on={}/{}/{}",
            r.from(1, 12),
            r.from(1, 28),
            r.from(2015, 2026)
        )
    }),
    ("time", |r| {
        format!(
            "/slots?at={:02}:{:02}:{:02}",
            r.from(0, 23),
            r.from(0, 59),
            r.from(0, 59)
        )
    }),
    ("date and time with dashes", |r| {
        format!(
            "/backups/{}-{:02}-{:02}-{:02}-{:02}-{:02}",
            r.from(15, 26),
            r.from(1, 12),
            r.from(1, 28),
            r.from(0, 23),
            r.from(0, 59),
            r.from(0, 59)
        )
    }),
    ("year range", |r| {
        format!("/archive/{}-{}", r.from(1950, 1999), r.from(2000, 2026))
    }),
    ("duration", |r| {
        format!("/jobs?timeout=PT{}H{}M", r.from(1, 12), r.from(1, 59))
    }),
    ("box of positions", |r| {
        format!(
            "/tiles?bbox={}.{},{}.{},{}.{},{}.{}",
            r.from(1, 80),
            r.digits(4),
            r.from(1, 80),
            r.digits(4),
            r.from(1, 80),
            r.digits(4),
            r.from(1, 80),
            r.digits(4)
        )
    }),
    ("map tile", |r| {
        format!("/tiles/{}/{}/{}.png", r.from(1, 18), r.from(1, 99999), r.from(1, 99999))
    }),
    ("decimal", |r| {
        format!(
            "/chart?x={}.{}&y=-{}.{}",
            r.from(0, 999),
            r.digits(6),
            r.from(0, 999),
            r.digits(3)
        )
    }),
    ("size", |r| {
        format!(
            "/image?w={}&h={}&q={}",
            r.from(100, 4000),
            r.from(100, 4000),
            r.from(10, 100)
        )
    }),
    ("byte range", |r| {
        format!("/file?range={}-{}", r.from(0, 9999), r.from(10_000, 999_999))
    }),
    ("colour", |r| format!("/theme?primary={}", r.hex(6))),
    ("phone-like id, seven digits", |r| {
        format!("/parts/{}-{}", r.digits(3), r.digits(4))
    }),
    ("phone-like id, invalid area", |r| {
        format!("/parts/1{}-{}-{}", r.digits(2), r.digits(3), r.digits(4))
    }),
    ("phone-like id, three, three and five", |r| {
        format!("/parts/{}-{}-{}", r.digits(3), r.digits(3), r.digits(5))
    }),
    ("FHIR id", |r| format!("/fhir/Encounter/{}", r.from(1000, 9_999_999))),
    ("FHIR version", |r| {
        format!(
            "/fhir/Observation/{}/_history/{}",
            r.from(1000, 9_999_999),
            r.from(1, 30)
        )
    }),
    ("FHIR reference", |r| {
        format!(
            "/fhir/Observation?encounter=Encounter/{}&_count={}",
            r.from(1000, 99999),
            r.from(1, 100)
        )
    }),
    ("FHIR profile", |r| {
        format!(
            "/fhir/Observation?_profile=http://hl7.org/fhir/us/core/StructureDefinition/us-core-{}",
            r.pick(&["patient", "vital-signs", "observation-lab"])
        )
    }),
    ("FHIR tag", |r| {
        format!(
            "/fhir/Observation?_tag=http://terms.example.org/tags|t{}",
            r.from(1, 999)
        )
    }),
    ("FHIR include", |r| {
        format!(
            "/fhir/MedicationRequest?_include=MedicationRequest:medication&_count={}&status=active",
            r.from(1, 500)
        )
    }),
    ("canonical with a version", |r| {
        format!(
            "/fhir/Measure?url=http://example.org/Measure/m{}|{}.{}.0",
            r.from(1, 99),
            r.from(1, 9),
            r.from(0, 9)
        )
    }),
    ("ETag", |r| format!("/fhir/metadata?etag=W/%22{}%22", r.from(1, 99999))),
    ("build", |r| {
        format!("/health?build={}.{}", r.from(20_200_101, 20_261_231), r.from(1, 40))
    }),
    ("room", |r| {
        format!("/rooms?name={}-{}{}", r.of("ABC", 1), r.from(1, 9), r.digits(2))
    }),
    ("imaging", |r| {
        format!(
            "/search?q={}+{}+CT",
            r.from(1, 4),
            r.pick(&["abdominal", "chest", "head"])
        )
    }),
    ("sentence", |r| {
        format!(
            "/search?q={}+{}",
            r.from(2, 90),
            r.pick(&[
                "way+switch",
                "day+course+of+antibiotics",
                "st+elevation",
                "year+old+male",
                "mg+twice+daily"
            ])
        )
    }),
    ("laboratory plate", |r| {
        format!("/lab?plate={}-well", r.pick(&["24", "48", "96", "384"]))
    }),
    ("laboratory plate, position", |r| {
        format!(
            "/lab?plate={}&well={}{}",
            r.from(1, 400),
            r.of("ABCDEFGH", 1),
            r.from(1, 12)
        )
    }),
    ("template", |r| format!("/templates/tpl{}", r.digits(6))),
    ("image tag", |r| {
        format!(
            "/v2/scrim/manifests/{}.{}-alpine{}.{}",
            r.from(1, 20),
            r.from(0, 20),
            r.from(3, 4),
            r.from(1, 20)
        )
    }),
    ("pod", |r| {
        format!(
            "/pods/api-{}-{}",
            r.of("bcdfghjklmnpqrstvwxz2456789", 10),
            r.of("bcdfghjklmnpqrstvwxz2456789", 5)
        )
    }),
    ("package", |r| {
        format!("/npm/@scope/pkg@{}.{}.{}", r.from(1, 9), r.from(0, 20), r.from(0, 20))
    }),
    ("handle", |r| {
        format!("/users/@{}", r.pick(&["ada", "team-one", "ops_bot"]))
    }),
    ("DOI", |r| {
        format!(
            "/doi/10.{}/j.{}.{}.{}.{}",
            r.from(1000, 1999),
            r.pick(&["amj", "cell"]),
            r.from(2010, 2025),
            r.digits(2),
            r.digits(3)
        )
    }),
    ("locale", |r| {
        format!(
            "/{}-{}/docs/{}",
            r.pick(&["en", "es", "de"]),
            r.pick(&["US", "MX", "AT"]),
            r.pick(&["start", "api", "faq"])
        )
    }),
    ("account kind", |r| {
        format!(
            "/settings?account={}&plan={}",
            r.pick(&["basic", "premium", "trial"]),
            r.pick(&["2024", "gold"])
        )
    }),
    ("position in a list", |r| {
        format!(
            "/list?member={}&policy={}",
            r.from(1, 99),
            r.pick(&["strict", "open", "v2"])
        )
    }),
    ("model number", |r| {
        format!(
            "/devices?model={}{}-{}",
            r.of(UPPER, 2),
            r.from(100, 999),
            r.of(UPPER, 1)
        )
    }),
    ("hex dump", |r| {
        format!("/trace/{}-{}-{}-01", r.hex(2), r.hex(32), r.hex(16))
    }),
    ("sorting", |r| {
        format!(
            "/fhir/Observation?_sort=-date,code&_elements=id,status&_count={}",
            r.from(1, 1000)
        )
    }),
    ("search words", |r| {
        format!(
            "/search?q={}+{}",
            r.pick(&["city", "county", "street", "born", "account", "zip"]),
            r.pick(&["hall", "jail", "art", "again", "closed", "lining"])
        )
    }),
    ("address of a service", |r| {
        format!("/login?redirect_uri=https://app{}.example.org/callback", r.from(1, 9))
    }),
    ("address of a picture", |r| {
        format!("/proxy?src=https://cdn.example.net/img/{}.webp", r.hex(8))
    }),
    ("picture for dense screens", |r| {
        format!("/static/logo{}@{}x.png", r.from(1, 99), r.from(2, 3))
    }),
    ("repository over SSH", |r| {
        format!("/import?from=git@git.example.org:team/repo{}.git", r.from(1, 99))
    }),
    ("id of a provider, ten digits", |r| {
        format!("/directory?provider=1{}", r.digits(9))
    }),
    ("party", |r| {
        format!(
            "/search?q=birthday+{}-{:02}-{:02}",
            r.from(2024, 2026),
            r.from(1, 12),
            r.from(1, 28)
        )
    }),
    ("fingerprint", |r| {
        format!("/keys/{}", (0..20).map(|_| r.hex(2)).collect::<Vec<_>>().join(":"))
    }),
    ("number of a policy", |r| {
        format!("/rules?policy=pol-{}-{}", r.from(2015, 2026), r.digits(4))
    }),
    ("cloud account", |r| {
        format!("/roles?arn=arn:aws:iam::{}:role/reader", r.of("123456789", 12))
    }),
    ("software licence", |r| {
        format!(
            "/packages?license={}",
            r.pick(&["MIT", "Apache-2.0", "BSD-3-Clause", "MPL-2.0", "CC-BY-4.0"])
        )
    }),
    ("number and road", |r| {
        format!(
            "/search?q={}+{}",
            r.from(2, 6),
            r.pick(&["lane+road+closure", "mile+road+race", "phase+street+works"])
        )
    }),
    ("every city", |r| {
        format!(
            "/stats?city={}&year={}",
            r.pick(&["all", "any", "none"]),
            r.from(2000, 2026)
        )
    }),
    ("laboratory plate, bar code", |r| {
        format!("/lab?plate=PL{}", r.digits(5))
    }),
    ("medicare plan", |r| {
        format!(
            "/plans?medicare=part-{}&year={}",
            r.pick(&["a", "b", "c", "d"]),
            r.from(2015, 2026)
        )
    }),
    ("telephone hotline in letters", |r| {
        format!("/help/1-800-{}", r.pick(&["FLOWERS", "HEALTHY", "CALLNOW"]))
    }),
];

/// Every harmless URL, with its kind.
pub fn harmless() -> Vec<(&'static str, String)> {
    let mut random = Random::new(0x5eed);
    KINDS
        .iter()
        .flat_map(|(kind, make)| (0..HARMLESS).map(|_| (*kind, make(&mut random))).collect::<Vec<_>>())
        .collect()
}
