//! The second layer: rules for resources, which begin anew at each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::fhir::{Below, FhirPath, FhirRules, Kind, Others, TypeRules, Zone};
use super::super::program::{Action, Ask, DROPPED, Excess, KEPT, Label, Names, ProgramError};
use super::super::transform::Transform;
use super::positions::{Position, Set, Sets, Word, forward};
use super::{Compiler, Effect, Fhir, Inside, Place, View};

/// Rules for resources, in the compiler's list.
pub(super) struct Layer {
    pub(super) rules: FhirRules,
    /// Of each listed type, and of all others.
    pub(super) types: BTreeMap<String, TypeLayer>,
    pub(super) others: TypeLayer,
}

pub(super) struct TypeLayer {
    positions: Set,
    /// There is no allow list.
    everything: bool,
}

impl Compiler {
    /// Adds the rules for resources: those of the types before those for all, so that their transforms win.
    pub(super) fn fhir_layer(&mut self, rules: FhirRules) -> Result<Layer, ProgramError> {
        let mut types: BTreeMap<String, TypeLayer> = BTreeMap::new();
        for (name, own) in &rules.types {
            let (from, everything) = (self.rules.len(), own.allow.is_none());
            self.type_rules(own, Some(name))?;
            let layer = types.entry(name.clone()).or_insert_with(|| TypeLayer {
                positions: Sets::EMPTY,
                everything: true,
            });
            layer.everything &= everything;
            let own = (from..self.rules.len()).map(|rule| (rule, 0));
            layer.positions = self.sets.joined(&self.rules, layer.positions, own);
        }
        let from = self.rules.len();
        self.type_rules(&rules.all, None)?;
        let others = TypeLayer {
            positions: self.begun(from),
            everything: rules.all.allow.is_none(),
        };
        for layer in types.values_mut() {
            layer.everything &= others.everything;
            let own = self.sets.positions(layer.positions).to_vec();
            layer.positions = self.sets.joined(&self.rules, others.positions, own);
        }
        Ok(Layer { rules, types, others })
    }

    fn type_rules(&mut self, rules: &TypeRules, resource: Option<&str>) -> Result<(), ProgramError> {
        let paths = rules.deny.iter().chain(rules.allow.iter().flatten());
        for path in paths.chain(rules.transforms.iter().map(|(path, _)| path)) {
            let kinds = match resource {
                Some(name) => vec![Kind::of(name)],
                None => vec![Kind::Bundle, Kind::Parameters, Kind::Other],
            };
            if kinds.into_iter().any(|kind| path.crosses(kind)) {
                return Err(ProgramError(Excess::Crosses {
                    path: path.to_string(),
                    resource: resource.map(str::to_owned),
                }));
            }
        }
        self.add(&rules.deny, Effect::Deny, true, FhirPath::segments);
        self.add(rules.allow.iter().flatten(), Effect::Allow, true, FhirPath::segments);
        for (path, transform) in &rules.transforms {
            self.add([path], Effect::Change(*transform), true, FhirPath::segments);
        }
        Ok(())
    }

    /// The node of a member inside a resource. `name`: without its underscore; empty for those that no rule mentions.
    pub(super) fn member(
        &mut self,
        inside: &Inside,
        word: Option<Word>,
        name: &str,
        underscore: bool,
        json: Place,
    ) -> Result<u32, ProgramError> {
        let Some(layer) = &self.layer else {
            return Ok(DROPPED);
        };
        let groups = &layer.rules;
        let zone = inside.zone;
        match (zone, name) {
            (Zone::Root(Kind::UntypedBundle), "resourceType") if !underscore => {
                return self.question(Ask::LateType { then: KEPT });
            }
            (Zone::Root(_), "resourceType") if !underscore => return self.question(Ask::Type { then: KEPT }),
            (Zone::Instance, "resourceType") => {}
            (_, "resourceType") if !underscore => return self.question(Ask::Stray),
            (zone, name) if zone.refuses(name) => return self.question(Ask::Misfit),
            _ => {}
        }
        let narrative = matches!((zone, name), (Zone::Root(_) | Zone::Section, "text") | (_, "div"));
        let attached = zone == Zone::Attachment && matches!(name, "data" | "url" | "title" | "hash");
        let gone = (groups.extensions && (underscore || name == "extension"))
            || (groups.narrative && narrative)
            || (groups.attachments && attached);
        let no_scalar = groups.attachments && name == "data" && zone != Zone::SampledData;
        let (displays, attachments) = (groups.reference_display, groups.attachments);
        let to = if gone {
            DROPPED
        } else {
            let mut next = Inside {
                view: View::Fresh,
                zone: Zone::Plain,
                allowed: inside.allowed,
                positions: Sets::EMPTY,
                pending: Sets::EMPTY,
                no_scalar,
                label: false,
                labelled: false,
            };
            (next.positions, next.pending) = self.sets.member(&self.rules, inside.positions, word);
            let denied = self
                .selected(next.positions)
                .any(|effect| matches!(effect, Effect::Deny));
            let hidden = underscore && (self.change(next.positions, next.pending) || self.denies(next.pending));
            if denied || hidden {
                DROPPED
            } else {
                if underscore {
                    // A filter reads `x`, not `_x`; what it would allow is not allowed.
                    next.pending = Sets::EMPTY;
                }
                let fhir = match zone.member(name, underscore) {
                    Below::Border if self.change(next.positions, next.pending) => Fhir::Inside(next),
                    Below::Border => {
                        if self.denies(next.pending) || !self.allows(&next) {
                            return Ok(DROPPED);
                        }
                        Fhir::Border {
                            view: View::Fresh,
                            labelled: matches!(zone, Zone::Root(_)) && name == "contained" && inside.labelled,
                        }
                    }
                    Below::Zone(below) => {
                        next.zone = match (zone, name) {
                            (Zone::Root(_), "meta") if inside.label && !underscore => Zone::Meta,
                            (Zone::Meta, "security") if !underscore => Zone::Security,
                            _ if !attachments && matches!(below, Zone::Attachment | Zone::SampledData) => Zone::Plain,
                            _ => below,
                        };
                        Fhir::Inside(next)
                    }
                };
                self.node(Place { fhir, ..json })?
            }
        };
        match name {
            "display" if displays && to != DROPPED => self.question(Ask::Display { then: to }),
            "system" | "code" if displays && !underscore => self.question(Ask::Code { then: to }),
            _ => Ok(to),
        }
    }

    /// Whether a transform applies here, or may by its filter.
    pub(super) fn change(&self, positions: Set, pending: Set) -> bool {
        let ahead = self.sets.positions(pending).iter().filter_map(|at| {
            let rule = self.rules.get(at.0)?;
            (rule.segments.len() == at.1.saturating_add(1)).then_some(rule.effect)
        });
        self.selected(positions)
            .chain(ahead)
            .any(|effect| matches!(effect, Effect::Change(_)))
    }

    /// Whether a rule that waits for its filter could deny or replace, here or below.
    pub(super) fn denies(&self, pending: Set) -> bool {
        self.sets
            .positions(pending)
            .iter()
            .filter_map(|at| self.rules.get(at.0))
            .any(|rule| !matches!(rule.effect, Effect::Allow))
    }

    fn allows(&self, inside: &Inside) -> bool {
        inside.allowed
            || self
                .selected(inside.positions)
                .any(|effect| matches!(effect, Effect::Allow))
    }

    /// The node of a place inside a resource that stays as far as it is known.
    pub(super) fn inside(&mut self, inside: &Inside, scalar: Action, place: &Place) -> Result<u32, ProgramError> {
        let change = self.transform(inside.positions);
        match inside.view {
            View::Array => self.entered(Action::Keep, place),
            View::Fresh if matches!(inside.zone, Zone::Meta | Zone::Security) => {
                let (label, view) = if inside.zone == Zone::Meta {
                    (Label::Meta, View::Single)
                } else {
                    (Label::Security, View::Array)
                };
                // What is replaced there gives way to ours.
                if change.is_some() || self.change(inside.positions, inside.pending) {
                    return Ok(DROPPED);
                }
                let then = self.viewed(place, view)?;
                let labelled = match then {
                    DROPPED => DROPPED,
                    then => self.question(Ask::Label { label, then })?,
                };
                let (mut array, mut object) = (DROPPED, labelled);
                if inside.zone == Zone::Security {
                    (array, object) = (labelled, DROPPED);
                }
                self.question(Ask::Kind {
                    array,
                    object,
                    scalar: DROPPED,
                })
            }
            View::Fresh if change.is_some() || inside.pending != Sets::EMPTY => {
                let array = self.viewed(place, View::Array)?;
                let single = self.viewed(place, View::Single)?;
                self.question(Ask::Kind {
                    array,
                    object: single,
                    scalar: single,
                })
            }
            View::Single if inside.pending != Sets::EMPTY => self.decided(inside, place),
            View::Fresh | View::Single => {
                let scalar = match (scalar, change) {
                    (Action::Drop, _) => Action::Drop,
                    _ if !inside.allowed || inside.no_scalar => Action::Drop,
                    (_, Some(change)) => change,
                    (scalar, None) => scalar,
                };
                match change {
                    Some(change) => self.leaf(scalar, change),
                    None => self.entered(scalar, place),
                }
            }
        }
    }

    /// The node of a value on which filters of paths decide.
    fn decided(&mut self, inside: &Inside, place: &Place) -> Result<u32, ProgramError> {
        let filters = self.sets.filters(inside.pending).to_vec();
        self.by_filters(filters, |compiler, holding| {
            let mut next = *inside;
            let pending = std::mem::replace(&mut next.pending, Sets::EMPTY);
            let pending = compiler.sets.positions(pending).iter().copied();
            let picked: Vec<Position> = pending
                .filter(|at| {
                    let segment = compiler.rules.get(at.0).and_then(|rule| rule.segments.get(at.1));
                    segment.is_some_and(|segment| segment.filters().all(|filter| holding.contains(filter)))
                })
                .map(forward)
                .collect();
            next.positions = compiler.sets.joined(&compiler.rules, next.positions, picked);
            compiler.node(Place {
                fhir: Fhir::Inside(next),
                ..*place
            })
        })
    }

    /// The question which resource an object is.
    pub(super) fn resource_question(
        &mut self,
        place: &Place,
        none: Option<u32>,
        labelled: bool,
    ) -> Result<u32, ProgramError> {
        let listed = self.layer.iter().flat_map(|layer| layer.types.keys().cloned());
        let mut names: BTreeSet<String> = listed.collect();
        names.extend(Kind::NAMES.iter().map(|(name, _)| (*name).to_owned()));
        let other = self.resource(place, None, Kind::Other, labelled)?;
        let mut types: Vec<(Arc<str>, u32)> = Vec::new();
        for name in names {
            let to = self.resource(place, Some(&name), Kind::of(&name), labelled)?;
            if to != other {
                types.push((name.into(), to));
            }
        }
        let bundle = self.resource(place, Some("Bundle"), Kind::UntypedBundle, labelled)?;
        let late = match none {
            None => DROPPED,
            Some(_) => self.node(Place {
                fhir: Fhir::Envelope {
                    view: View::Single,
                    late: true,
                },
                ..*place
            })?,
        };
        self.question(Ask::Resource {
            types: Names::new(types),
            other,
            none,
            bundle,
            late,
        })
    }

    /// The node of a resource of this type, or of one that no rule mentions.
    fn resource(&mut self, place: &Place, name: Option<&str>, kind: Kind, labelled: bool) -> Result<u32, ProgramError> {
        let Some(layer) = &self.layer else {
            return Ok(DROPPED);
        };
        let listed = name.and_then(|name| layer.types.get(name));
        if listed.is_none() && layer.rules.others == Others::Remove && !kind.always_stays() {
            return Ok(DROPPED);
        }
        let own = listed.unwrap_or(&layer.others);
        let groups = &layer.rules;
        // The caller's rewriter takes nothing out of a resource that its rules would leave whole.
        let takes = |at: &Position| {
            let effect = self.rules.get(at.0).map(|rule| rule.effect);
            !matches!(effect, Some(Effect::Change(Transform::Rewrite(_))))
        };
        let selectors = !place.allowed || self.sets.positions(place.positions).iter().any(takes);
        let trimmed = selectors
            || own.positions != Sets::EMPTY
            || !own.everything
            || groups.others == Others::Remove
            || groups.narrative
            || groups.reference_display
            || groups.attachments
            || groups.extensions;
        let label = groups.tag && trimmed && !labelled;
        let inside = Inside {
            view: View::Single,
            zone: Zone::Root(kind),
            allowed: own.everything,
            positions: own.positions,
            pending: Sets::EMPTY,
            no_scalar: false,
            label,
            labelled: label || labelled,
        };
        let root = Place {
            allowed: place.allowed,
            positions: place.positions,
            fhir: Fhir::Inside(inside),
        };
        // `resourceType` stays with its resource even where nothing is allowed.
        let mut then = self.root(root)?;
        if kind == Kind::UntypedBundle {
            then = self.question(Ask::Untyped { then })?;
        }
        if label {
            self.question(Ask::Label {
                label: Label::Resource,
                then,
            })
        } else {
            Ok(then)
        }
    }

    /// The node of a resource itself, which is entered whatever its rules allow.
    fn root(&mut self, place: Place) -> Result<u32, ProgramError> {
        if let Some(id) = self.known.get(&place) {
            return Ok(*id);
        }
        let id = self.entered(Action::Keep, &place)?;
        self.known.insert(place, id);
        Ok(id)
    }
}
