;; proxy_resolve_shared_queue: by this VM's id and another, unknown names, pointers outside memory.
(module
 (import "env" "proxy_resolve_shared_queue" (func $resolve (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (global $one (mut i32) (i32.const 0))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "resolve_shared_queue")) (then
   (call $told (text "register") (call $register (text "probe.resolved") (global.get $number)))
   (global.set $one (i32.load (global.get $number)))
   (call $told (text "of this VM") (call $resolve (text "scrim") (text "probe.resolved") (global.get $number)))
   (call $told (text "the same") (i32.eq (global.get $one) (i32.load (global.get $number))))
   (call $told (text "of no VM") (call $resolve (text "") (text "probe.resolved") (global.get $number)))
   (call $told (text "of another VM") (call $resolve (text "other") (text "probe.resolved") (global.get $number)))
   (call $told (text "unknown") (call $resolve (text "scrim") (text "probe.nobody") (global.get $number)))
   (call $told (text "vm nowhere") (call $resolve (global.get $nowhere) (i32.const 1) (text "probe.resolved") (global.get $number)))
   (call $told (text "name nowhere") (call $resolve (text "scrim") (global.get $nowhere) (i32.const 1) (global.get $number)))
   (call $told (text "token nowhere") (call $resolve (text "scrim") (text "probe.resolved") (global.get $nowhere)))))
  (i32.const 0))
)
