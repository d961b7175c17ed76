//! What each recogniser finds and leaves alone, and what holds for all of them.

use super::*;
use proptest::prelude::*;

fn entries(detectors: &[Detector]) -> Vec<DetectEntry> {
    let entry = |detector: &Detector| DetectEntry {
        name: detector.code().to_owned(),
        pattern: None,
        action: None,
        except: Vec::new(),
    };
    detectors.iter().map(entry).collect()
}

fn looking_for(detectors: &[Detector]) -> Detectors {
    Detectors::new(entries(detectors)).ok().unwrap()
}

fn scan(text: &str) -> Vec<Hit> {
    Detectors::none().scan(text, "")
}

fn may_hold(bytes: &[u8]) -> bool {
    Detectors::none().may_hold(bytes)
}

fn found(text: &str) -> Vec<(Detector, &str)> {
    scan(text)
        .into_iter()
        .map(|hit| match hit.finder {
            Finder::Known(detector) => (detector, &text[hit.start..hit.end]),
            Finder::Own(_) => panic!("no own pattern"),
        })
        .collect()
}

#[test]
fn social_security_numbers() {
    for (text, stretch) in [
        ("512-34-5678", "512-34-5678"),
        ("512 34 5678", "512 34 5678"),
        ("512.34.5678", "512.34.5678"),
        ("512345678", "512345678"),
        ("512 - 34 - 5678", "512 - 34 - 5678"),
        ("512-34 5678", "512-34 5678"),
        ("512+34+5678", "512+34+5678"),
        ("512_34_5678", "512_34_5678"),
        ("512/34/5678", "512/34/5678"),
        ("ssn:512-34-5678.", "512-34-5678"),
        ("ssn512345678", "512345678"),
        ("SSN512-34-5678", "512-34-5678"),
        ("id-512-34-5678-x", "512-34-5678"),
        ("a,512345678,b", "512345678"),
        ("http://hl7.org/fhir/sid/us-ssn|512345678", "512345678"),
        ("http://snomed.info/sct|512345678", "512345678"),
        ("_512345678_", "512345678"),
        ("078-05-1120", "078-05-1120"),
        ("899-99-9999", "899-99-9999"),
    ] {
        assert_eq!(found(text), [(Detector::Ssn, stretch)], "{text}");
    }
}

#[test]
fn phone_numbers() {
    for (text, stretch) in [
        ("(415) 555-0132", "(415) 555-0132"),
        ("(415)555-0132", "(415)555-0132"),
        ("(415) 5550132", "(415) 5550132"),
        ("415-555-0132", "415-555-0132"),
        ("415.555.0132", "415.555.0132"),
        ("415 555 0132", "415 555 0132"),
        ("415 555-0132", "415 555-0132"),
        ("+1 415 555 0132", "415 555 0132"),
        ("+1-415-555-0132", "415-555-0132"),
        ("+1 (415) 555-0132", "(415) 555-0132"),
        ("1.415.555.0132", "415.555.0132"),
        ("+14155550132", "14155550132"),
        ("14155550132", "14155550132"),
        ("4155550132", "4155550132"),
        ("tel:4155550132", "4155550132"),
        ("415-555-0132x12", "415-555-0132"),
    ] {
        assert_eq!(found(text), [(Detector::Phone, stretch)], "{text}");
    }
}

#[test]
fn email_addresses() {
    for (text, stretch) in [
        ("peter@example.org", "peter@example.org"),
        ("mailto:p.j+tag@mail.example.co.uk.", "p.j+tag@mail.example.co.uk"),
        ("peter @example.org", "peter @example.org"),
        ("josé@exämple.org", "josé@exämple.org"),
        ("<peter@example.org>", "peter@example.org"),
        ("peter@[192.0.2.1].", "peter@[192.0.2.1]"),
    ] {
        assert_eq!(found(text), [(Detector::Email, stretch)], "{text}");
    }
}

#[test]
fn medical_record_numbers() {
    for (text, stretch) in [
        ("MRN12345", "MRN12345"),
        ("mrn:12345678", "mrn:12345678"),
        ("MRN-A12345", "MRN-A12345"),
        ("MRN #1234567", "MRN #1234567"),
        ("MRN=1234567", "MRN=1234567"),
        ("http://hospital.example/mrn|1234567", "mrn|1234567"),
        ("MRN 123-456-7", "MRN 123-456-7"),
        ("x_mrn_123456", "mrn_123456"),
        ("Medical Record Number: 1234567", "Medical Record Number: 1234567"),
    ] {
        assert_eq!(found(text), [(Detector::Mrn, stretch)], "{text}");
    }
}

#[test]
fn look_alikes_are_left_alone() {
    for text in [
        "",
        "000-12-3456",
        "666-12-3456",
        "900-12-3456",
        "123-00-4567",
        "123-45-0000",
        "000123456",
        "1512345678",
        "51234567",
        "512-34-56789",
        "1512-34-5678",
        "5123-45-678",
        "12345-6789",
        "512-345-678",
        "2024-01-15",
        "2024-01-15T10:30:00.000Z",
        "20240115103000",
        "1700000000",
        "1700000000000",
        "550e8400-e29b-41d4-a716-446655440000",
        "123e4567-e89b-12d3-a456-426614174000",
        "a512345678f",
        "d41d8cd98f00b204e9800998ecf8427e",
        "x512345678",
        "512345678x",
        "urn:oid:2.16.840.1.113883.4.1",
        "urn:oid:1.2.512.34.5678.9",
        "2.16.512.34.5678",
        "1.2.512345678.4",
        "192.168.100.200",
        "10.415.555.0132.7",
        "v1.2.3",
        "8867-4",
        "http://loinc.org|55284-4",
        "http://snomed.info/sct|271649006",
        "http://snomed.info/sct|386661006",
        "http://hl7.org/fhir/sid/us-npi|1234567893",
        "0002-7597-01",
        "978-0-13-468599-1",
        "111-1234567-1234567",
        "1-800-FLOWERS",
        "115-555-0132",
        "411-555-0132",
        "415-055-0132",
        "415-911-0132",
        "490-555-01327",
        "290-555-0132",
        "5550132",
        "555-0132",
        "@handle",
        "pkg@1.2.3",
        "user@localhost",
        "logo@2x.png",
        "a@b",
        "a@b.c",
        "@example.org",
        "mrn",
        "mrn lookup",
        "mrn-search",
        "mrn 1234",
        "MRN:A1234567890B",
        "charmrn12345",
        "internal",
        "ORD-2024-000123",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn several_hits_come_in_order_and_apart() {
    assert_eq!(
        found("a@b.org 512-34-5678,415-555-0132 mrn:12345"),
        [
            (Detector::Email, "a@b.org"),
            (Detector::Ssn, "512-34-5678"),
            (Detector::Phone, "415-555-0132"),
            (Detector::Mrn, "mrn:12345"),
        ]
    );
    assert_eq!(found("mrn:512345678"), [(Detector::Mrn, "mrn:512345678")]);
    assert_eq!(found("512-34-5678@x.org"), [(Detector::Ssn, "512-34-5678@x.org")]);
}

/// What a recogniser finds in a text that stands under a name.
fn found_by(detector: Detector, name: &str, text: &str) -> Vec<String> {
    let detectors = looking_for(&[detector]);
    let hits = detectors.scan(text, name);
    let own = hits.into_iter().filter(|hit| hit.finder == Finder::Known(detector));
    own.map(|hit| text[hit.start..hit.end].to_owned()).collect()
}

fn finds(detector: Detector, cases: &[(&str, &str, &str)]) {
    for (name, text, stretch) in cases {
        assert_eq!(found_by(detector, name, text), [*stretch], "{name}={text}");
    }
}

fn leaves(detector: Detector, cases: &[(&str, &str)]) {
    for (name, text) in cases {
        assert_eq!(found_by(detector, name, text), [""; 0], "{name}={text}");
    }
}

#[test]
fn codes_are_no_social_security_numbers() {
    leaves(
        Detector::Ssn,
        &[("code", "271649006"), ("reason-code", "195967001,271649006")],
    );
    finds(
        Detector::Ssn,
        &[
            ("code", "512345678", "512345678"),
            ("q", "271649006", "271649006"),
            ("code", "271649007", "271649007"),
        ],
    );
}

#[test]
fn international_phone_numbers() {
    finds(
        Detector::Phone,
        &[
            ("", "+44 20 7946 0958", "+44 20 7946 0958"),
            ("", "tel:+442079460958", "+442079460958"),
            ("", " 442079460958", " 442079460958"),
            ("", "+49 (30) 901820", "+49 (30) 901820"),
        ],
    );
    leaves(
        Detector::Phone,
        &[
            ("", "+2024-01-01"),
            ("", "a+442079460958"),
            ("", "+12345"),
            ("", "+44207946095812345"),
            ("", "+2024-01-01 10"),
        ],
    );
}

#[test]
fn several_medical_record_numbers_under_one_name() {
    let found = found_by(Detector::Mrn, "mrn", "123456,A23456|x");
    assert_eq!(found, ["123456", "A23456"]);
    assert_eq!(found_by(Detector::Mrn, "mrn", "512345678"), ["512345678"]);
}

#[test]
fn provider_identifiers() {
    finds(
        Detector::Npi,
        &[
            ("npi", "1234567893", "1234567893"),
            ("provider", "2234567891", "2234567891"),
            ("q", "npi:1234567893", "1234567893"),
            ("q", "NPI number 1234567893", "1234567893"),
            ("identifier", "http://hl7.org/fhir/sid/us-npi|1234567893", "1234567893"),
            ("", "808401234567893", "808401234567893"),
        ],
    );
    leaves(
        Detector::Npi,
        &[
            ("npi", "1234567890"),
            ("", "1234567893"),
            ("npi", "3234567899"),
            ("npi", "12345678930"),
            ("npi", "1234567893a"),
            ("order", "1234567893"),
            ("q", "snpi 1234567893"),
        ],
    );
}

#[test]
fn dea_numbers() {
    finds(
        Detector::Dea,
        &[
            ("", "AB1234563", "AB1234563"),
            ("", "x,B91234563", "B91234563"),
            ("dea", "X91234563", "X91234563"),
            ("q", "DEA# AB-1234563", "AB-1234563"),
            ("", "mf1234563", "mf1234563"),
        ],
    );
    leaves(
        Detector::Dea,
        &[
            ("", "AB1234564"),
            ("", "XY1234563"),
            ("", "AB12345630"),
            ("", "CAB1234563"),
            ("dea", "QB1234563"),
        ],
    );
}

#[test]
fn medicare_identifiers() {
    finds(
        Detector::Mbi,
        &[
            ("", "1EG4-TE5-MK73", "1EG4-TE5-MK73"),
            ("", "1EG4TE5MK73", "1EG4TE5MK73"),
            ("", "id 1eg4 te5 mk73.", "1eg4 te5 mk73"),
            ("mbi", "1EG4TE5MK73", "1EG4TE5MK73"),
            ("medicare", "123-45-6789A", "123-45-6789A"),
            ("q", "HICN: 123456789C1", "123456789C1"),
        ],
    );
    leaves(
        Detector::Mbi,
        &[
            ("", "0EG4TE5MK73"),
            ("", "1SG4TE5MK73"),
            ("", "1EG4TE5MK7"),
            ("", "1EG4TE5MK733"),
            ("", "1EG4-TE5MK73"),
            ("", "1EG4-TE5 MK73"),
            ("", "123456789A"),
        ],
    );
}

#[test]
fn dates_of_birth() {
    finds(
        Detector::BirthDate,
        &[
            ("dob", "1970-03-12", "1970-03-12"),
            ("birthdate", "ge1970-03-12", "ge1970-03-12"),
            ("date_of_birth", "03/12/1970", "03/12/1970"),
            ("patientBirthDate", "19700312", "19700312"),
            ("born", "12 March 1970", "12 March 1970"),
            ("q", "DOB: 3/12/70", "3/12/70"),
            ("q", "born on 1970-03-12 in town", "1970-03-12"),
            ("q", "date of birth is 1970-03", "1970-03"),
            ("q", "dob19700312", "19700312"),
            ("q", "1970-03-12 (DOB)", "1970-03-12"),
            ("q", "born the 2nd of March 1970", "2nd of March 1970"),
        ],
    );
    leaves(
        Detector::BirthDate,
        &[
            ("_lastUpdated", "1970-03-12"),
            ("q", "1970-03-12"),
            ("dob", "1970"),
            ("dob", "1970-13-12"),
            ("dob", "19701312"),
            ("q", "stillborn 2020-01-01"),
            ("q", "dobson 1970-01-01"),
        ],
    );
    let found = found_by(Detector::BirthDate, "dob", "ge1970-01-01,lt1980-01-01");
    assert_eq!(found, ["ge1970-01-01", "lt1980-01-01"]);
}

#[test]
fn network_addresses() {
    finds(
        Detector::Ip,
        &[
            ("", "192.168.100.200", "192.168.100.200"),
            ("client", "10.0.0.15:8080", "10.0.0.15"),
            ("q", "from 203.0.113.9, late", "203.0.113.9"),
            ("ip", "8.8.8.8", "8.8.8.8"),
            ("", "2001:db8::1", "2001:db8::1"),
            ("", "ip:2001:db8:0:0:0:0:0:1", "2001:db8:0:0:0:0:0:1"),
            ("", "[fe80::1ff:fe23:4567:890a]", "fe80::1ff:fe23:4567:890a"),
            ("", "::ffff:192.0.2.128", "::ffff:192.0.2.128"),
        ],
    );
    leaves(
        Detector::Ip,
        &[
            ("", "2.16.840.1.113883.4.1"),
            ("", "1.2.3.4"),
            ("", "v10.20.30.40"),
            ("version", "10.20.30.40"),
            ("", "Chrome/120.0.60.109"),
            ("", "10.20.30.40-rc1"),
            ("", "10.20.30"),
            ("", "256.1.1.10"),
            ("", "192.168.01.10"),
            ("", "10:30:00"),
            ("", "T10:30:00+01:00"),
            ("", "std::decimal"),
            ("", "0.0.0.0"),
        ],
    );
    finds(
        Detector::Mac,
        &[
            ("", "00:1A:2B:3C:4D:5E", "00:1A:2B:3C:4D:5E"),
            ("", "00-1a-2b-3c-4d-5e", "00-1a-2b-3c-4d-5e"),
            ("", "001a.2b3c.4d5e", "001a.2b3c.4d5e"),
            ("mac", "001A2B3C4D5E", "001A2B3C4D5E"),
            ("", "00:1A:2B:FF:FE:3C:4D:5E", "00:1A:2B:FF:FE:3C:4D:5E"),
        ],
    );
    leaves(
        Detector::Mac,
        &[
            ("", "001A2B3C4D5E"),
            ("", "20-24-01-15-10-30"),
            ("", "1234.5678.9012"),
            ("", "00:1A:2B:3C:4D"),
            ("", "00:1A:2B:3C:4D:5E:6F"),
            ("", "550e8400-e29b-41d4-a716-446655440000"),
            ("", "aa:bb-cc:dd:ee:ff"),
        ],
    );
}

#[test]
fn accounts() {
    finds(
        Detector::Account,
        &[
            ("", "4111 1111 1111 1111", "4111 1111 1111 1111"),
            ("", "4111-1111-1111-1111", "4111-1111-1111-1111"),
            ("", "378282246310005", "378282246310005"),
            ("", "3782 822463 10005", "3782 822463 10005"),
            ("", "pay 5555555555554444 now", "5555555555554444"),
            ("", "GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 32"),
            ("", "de89370400440532013000", "de89370400440532013000"),
            ("account", "00123456", "00123456"),
            ("acctNo", "12-3456-7", "12-3456-7"),
            ("q", "Member ID: XYZ123456789", "XYZ123456789"),
            ("q", "policy number A-12345", "A-12345"),
        ],
    );
    leaves(
        Detector::Account,
        &[
            ("", "4111111111111112"),
            ("", "9111111111111111"),
            ("", "1700000000000"),
            ("", "GB83WEST12345698765432"),
            ("", "XX82WEST12345698765432"),
            ("account", "1234"),
            ("account", "2024-01-15"),
            ("account", "Account/x"),
            ("account", "550e8400-e29b-41d4-a716-446655440000"),
            ("q", "accountant 12345678"),
            ("", "0.4111111111111111"),
        ],
    );
}

#[test]
fn plates_and_vehicles() {
    finds(
        Detector::Plate,
        &[
            ("plate", "ABC1234", "ABC1234"),
            ("licensePlate", "abc-1234", "abc-1234"),
            ("q", "license plate: 7ABC123 parked", "7ABC123"),
            ("q", "plate no. ABC 123", "ABC 123"),
        ],
    );
    leaves(
        Detector::Plate,
        &[
            ("", "ABC1234"),
            ("plate", "12"),
            ("plate", "96"),
            ("plate", "96-well"),
            ("plate", "ABCDEFGHJ1"),
            ("q", "template ABC1234"),
        ],
    );
    finds(
        Detector::Vin,
        &[
            ("", "1M8GDM9AXKP042788", "1M8GDM9AXKP042788"),
            ("vin", "1m8gdm9axkp042788", "1m8gdm9axkp042788"),
            ("q", "car 1HGCM82633A004352.", "1HGCM82633A004352"),
        ],
    );
    leaves(
        Detector::Vin,
        &[
            ("", "1M8GDM9A1KP042788"),
            ("", "11111111111111111"),
            ("vin", "1M8GDM9AXKP04278"),
            ("", "1M8GDM9AXKP0427881"),
        ],
    );
}

#[test]
fn web_addresses() {
    finds(
        Detector::Url,
        &[
            (
                "",
                "https://people.example.org/~ada?x=1",
                "https://people.example.org/~ada?x=1",
            ),
            ("", "see http://blog.example/ada.", "http://blog.example/ada"),
            ("", "www.ada-example.org", "www.ada-example.org"),
            (
                "subject",
                "https://fhir.example.org/Patient/7",
                "https://fhir.example.org/Patient/7",
            ),
        ],
    );
    leaves(
        Detector::Url,
        &[
            ("code", "http://loinc.org|8867-4"),
            ("code", "http://example.org/codes|8867-4"),
            ("_profile", "http://hl7.org/fhir/StructureDefinition/Patient"),
            ("", "http://terminology.hl7.org/CodeSystem/v3-ActCode"),
            ("", "urn:oid:1.2.3"),
            ("", "awww.no"),
            ("", "http:/x"),
        ],
    );
}

#[test]
fn geographic_units() {
    finds(
        Detector::Geo,
        &[
            ("", "12 Main St", "12 Main St"),
            ("", "at 1600 Pennsylvania Avenue NW", "1600 Pennsylvania Avenue"),
            ("", "12B-old-mill-road", "12B-old-mill-road"),
            ("", "221 N. 42nd Street", "221 N. 42nd Street"),
            ("", "P.O. Box 1234", "P.O. Box 1234"),
            ("address", "5 Elm Ct", "5 Elm Ct"),
            ("zip", "02139", "02139"),
            ("postcode", "SW1A 1AA", "SW1A 1AA"),
            ("postal_code", "K1A0B6", "K1A0B6"),
            ("postal_code", "02139-4307", "02139-4307"),
            ("q", "ZIP: 02139", "02139"),
            ("q", "Cambridge, MA 02139", "02139"),
            ("address-city", "Cambridge", "Cambridge"),
            ("q", "city: New Bedford, x", "New Bedford"),
            ("q", "near Suffolk County", "Suffolk County"),
            ("lat", "42.36012", "42.36012"),
        ],
    );
    leaves(
        Detector::Geo,
        &[
            ("", "12 Main"),
            ("", "1 abdominal CT"),
            ("", "3 way switch"),
            ("", "02139"),
            ("zip", "021"),
            ("q", "city hall"),
            ("q", "IN 12345"),
            ("x", "42.36012"),
            ("lat", "42.3"),
            ("address-state", "MA"),
            ("capacity", "Full"),
        ],
    );
}

#[test]
fn well_known_samples_are_found() {
    for (detector, name, sample) in [
        (Detector::Ssn, "", "078-05-1120"),
        (Detector::Ssn, "", "219-09-9999"),
        (Detector::Ssn, "", "123-45-6789"),
        (Detector::Ssn, "", "123456789"),
        (Detector::Ssn, "", "111-11-1111"),
        (Detector::Phone, "", "212-555-1234"),
        (Detector::Phone, "", "415-555-0100"),
        (Detector::Email, "", "test@example.com"),
        (Detector::Npi, "npi", "1234567893"),
        (Detector::Mbi, "", "1EG4-TE5-MK73"),
        (Detector::Account, "", "4111111111111111"),
        (Detector::Account, "", "4242424242424242"),
        (Detector::Vin, "", "1M8GDM9AXKP042788"),
        (Detector::Ip, "", "192.0.2.10"),
    ] {
        assert_eq!(found_by(detector, name, sample), [sample]);
    }
}

/// What two find goes to the one that the policy names.
#[test]
fn a_named_recogniser_is_not_hidden_by_one_for_logs() {
    let detectors = looking_for(&[Detector::Account]);
    let hits = detectors.scan("512345678", "account");
    assert_eq!(
        hits.iter().map(|hit| hit.finder).collect::<Vec<_>>(),
        [Finder::Known(Detector::Account)]
    );
    let strict = |own: Option<Action>| {
        let mut entries = entries(&[Detector::Ssn, Detector::Account]);
        entries[0].action = Some(Action::Observe);
        entries[1].action = own;
        let detectors = Detectors::new(entries).ok().unwrap();
        detectors.scan("512345678", "account").first().map(|hit| hit.finder)
    };
    assert_eq!(strict(None), Some(Finder::Known(Detector::Account)));
    assert_eq!(strict(Some(Action::Mask)), Some(Finder::Known(Detector::Account)));
    assert_eq!(strict(Some(Action::Observe)), Some(Finder::Known(Detector::Ssn)));
}

/// The least text of each kind that anything is found in, and what it may be mixed with.
const PIECES: &str = "([0-9]{1,5}|[-. @+()|:=#,]|mrn|Mrn|medical.record|Record|npi|dob|ip|mac|plate|zip|city|lat|account|x\\.org|www\\.|http://|[a-fA-F]{1,2}| Main St|County|GB82WEST12345698765432|AB1234563|1EG4TE5MK73|1970-01-01|10\\.0\\.0\\.12|fe80::1|00:1A:2B:3C:4D:5E|4111111111111111|1M8GDM9AXKP042788|1234567893|415-555-0132|512-34-5678)";

proptest! {
    #[test]
    fn the_quick_look_overlooks_nothing(text in "([0-9]{1,4}|[-. @+()|:]|mrn|Mrn|x\\.org|[a-f]){0,20}") {
        prop_assert!(may_hold(text.as_bytes()) || scan(&text).is_empty());
    }

    #[test]
    fn hits_lie_in_the_text_and_apart(text in prop::collection::vec(prop_oneof![9 => PIECES, 1 => Just("é".to_owned())], 0..20), name in "mrn|dob|npi|account|zip|city|x") {
        let text = text.concat();
        let hits = looking_for(&Detector::ALL).scan(&text, &name);
        let mut last = 0;
        for hit in hits {
            prop_assert!(hit.start >= last && hit.start < hit.end);
            prop_assert!(text.get(hit.start..hit.end).is_some());
            last = hit.end;
        }
    }

    #[test]
    fn every_issued_ssn_is_found(area in 1u32..900, group in 1u32..100, serial in 1u32..10000, style in 0usize..4, pad in 0usize..3) {
        prop_assume!(area != 666);
        let s = ["-", " ", ".", ""][style];
        let (before, after) = [("", ""), ("a ", " b"), ("x|", ",y")][pad];
        let text = format!("{before}{area:03}{s}{group:02}{s}{serial:04}{after}");
        prop_assert_eq!(scan(&text).len(), 1);
    }

    /// In whole targets: what stands in a piece is seen in the raw bytes, with the name that announces it.
    #[test]
    fn the_quick_look_over_a_target_overlooks_nothing(
        pieces in prop::collection::vec((prop::collection::vec(PIECES, 0..4), prop::collection::vec(PIECES, 0..6)), 1..4),
        named in prop::collection::vec(prop::sample::select(Detector::ALL.to_vec()), 0..3),
    ) {
        let plain = |parts: &[String]| parts.concat().replace(['#', '&'], "").replace(' ', "+");
        let pieces: Vec<(String, String)> = pieces.iter().map(|(name, value)| (plain(name).replace('=', ""), plain(value))).collect();
        let query: Vec<String> = pieces.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let path: Vec<String> = pieces.iter().map(|(name, value)| format!("{}/{}", name.replace('/', ""), value.replace('/', ""))).collect();
        let raw = format!("/{}?{}", path.join("/"), query.join("&"));
        let Ok(target) = crate::url::Target::parse(raw.as_bytes()) else { return Ok(()) };
        if !target.is_plain() { return Ok(()) }
        let detectors = looking_for(&named);
        let mut found = Vec::new();
        let mut before = "";
        for segment in target.segments() {
            found.extend(detectors.scan(segment.text(), before));
            before = segment.text();
        }
        for parameter in target.parameters() {
            found.extend(detectors.scan(parameter.name(), ""));
            found.extend(detectors.scan(parameter.value(), parameter.base_name()));
        }
        prop_assert!(found.is_empty() || detectors.may_hold(raw.as_bytes()), "{} {:?}", raw, found);
    }

    #[test]
    fn every_checksum_is_kept(digits in prop::collection::vec(0_u8..10, 15), wrong in 1_u8..10) {
        let text = |digits: &[u8]| digits.iter().map(|d| char::from(b'0' + d)).collect::<String>();
        let other = |check: u8| (check + wrong) % 10;
        let luhn_check = |body: &str| (0..10).find(|check| checksum::luhn(format!("{body}{check}").bytes(), 0)).unwrap();

        let body = format!("{}{}", 1 + digits[0] % 2, text(&digits[1..9]));
        let check: u8 = luhn_check(&format!("80840{body}"));
        for (check, right) in [(check, true), (other(check), false)] {
            let npi = format!("{body}{check}");
            for (name, spelled) in [("npi", npi.clone()), ("q", format!("NPI: {npi}")), ("identifier", format!("http://hl7.org/fhir/sid/us-npi|{npi}"))] {
                prop_assert_eq!(found_by(Detector::Npi, name, &spelled).len(), usize::from(right), "{}", spelled);
            }
        }

        let sum: u32 = digits[..6].iter().enumerate().map(|(place, d)| u32::from(*d) * (1 + place as u32 % 2)).sum();
        let check = (sum % 10) as u8;
        for (check, right) in [(check, true), (other(check), false)] {
            for prefix in ["BC", "M9", "af"] {
                let dea = format!("{prefix}{}{check}", text(&digits[..6]));
                prop_assert_eq!(found_by(Detector::Dea, "x", &dea).len(), usize::from(right), "{}", dea);
            }
        }

        let body = format!("4{}", text(&digits[..14]));
        let check = luhn_check(&body);
        for (check, right) in [(check, true), (other(check), false)] {
            let card = format!("{body}{check}");
            let grouped: Vec<&str> = (0..4).map(|group| &card[group * 4..group * 4 + 4]).collect();
            for spelled in [card.clone(), grouped.join(" "), grouped.join("-")] {
                prop_assert_eq!(found_by(Detector::Account, "x", &spelled).len(), usize::from(right), "{}", spelled);
            }
        }

        let vin = |check: char| format!("1HGCM{}{check}{}", &text(&digits[..3]), format_args!("3A00{}", text(&digits[3..7])));
        let valid = (0..10).map(|d| char::from(b'0' + d)).chain(['X']).filter(|check| vin::body(vin(*check).as_bytes(), 0).is_some());
        prop_assert_eq!(valid.count(), 1);
    }

    #[test]
    fn every_medicare_identifier_is_found(id in "[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9][0-9][AC-HJKMNP-RT-Y]{2}[0-9]{2}", pad in 0_usize..3) {
        let (before, after) = [("", ""), ("a ", " b"), ("x|", ",y")][pad];
        for id in [id.clone(), id.to_lowercase(), format!("{}-{}-{}", &id[..4], &id[4..7], &id[7..])] {
            prop_assert_eq!(found_by(Detector::Mbi, "", &format!("{before}{id}{after}")), [id]);
        }
    }

    #[test]
    fn every_birth_date_is_found(year in 1900_u32..2026, month in 1_u32..13, day in 1_u32..29) {
        for date in [
            format!("{year}-{month:02}-{day:02}"),
            format!("{year}{month:02}{day:02}"),
            format!("{month:02}/{day:02}/{year}"),
            format!("{month}/{day}/{year}"),
            format!("{day:02}.{month:02}.{year}"),
            format!("{year}-{month:02}"),
        ] {
            for name in ["dob", "birthdate", "birth_date", "patient.birthDate"] {
                prop_assert_eq!(found_by(Detector::BirthDate, name, &date), [&*date]);
            }
            for text in [format!("DOB {date}"), format!("born:{date},x"), format!("date-of-birth={date}")] {
                prop_assert_eq!(found_by(Detector::BirthDate, "q", &text), [&*date]);
            }
            prop_assert_eq!(found_by(Detector::BirthDate, "date", &date), [""; 0]);
        }
    }

    #[test]
    fn every_address_is_found(bytes in any::<[u8; 6]>(), v6 in any::<[u16; 8]>(), last in 10_u8..=255) {
        let mac: Vec<String> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        prop_assert_eq!(found_by(Detector::Mac, "x", &mac.join(":")).len(), 1);
        prop_assert_eq!(found_by(Detector::Mac, "mac", &mac.concat()).len(), 1);
        let v4 = format!("{}.{}.{}.{last}", 1 + bytes[0] % 254, bytes[1], bytes[2]);
        prop_assert_eq!(found_by(Detector::Ip, "x", &v4), [v4]);
        let v6 = format!("1{}", std::net::Ipv6Addr::from(v6).to_string().trim_start_matches(|c| c != ':'));
        prop_assert_eq!(found_by(Detector::Ip, "x", &v6).len(), usize::from(v6.len() >= 6), "{}", v6);
    }
}
