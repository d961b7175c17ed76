;; proxy_get_shared_data: what another filter wrote, unknown keys, pointers outside memory.
(module
 (import "env" "proxy_get_shared_data" (func $get (param i32 i32 i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "get_shared_data")) (then
   (call $got (text "unknown") (call $get (text "probe.nobody") (global.get $pointer) (global.get $size) (global.get $number)))
   (call $got (text "of another filter") (call $get (text "probe.shared") (global.get $pointer) (global.get $size) (global.get $number)))
   (call $told (text "key nowhere") (call $get (global.get $nowhere) (i32.const 1) (global.get $pointer) (global.get $size) (global.get $number)))
   (call $told (text "pointer nowhere") (call $get (text "probe.shared") (global.get $nowhere) (global.get $size) (global.get $number)))
   (call $told (text "size nowhere") (call $get (text "probe.shared") (global.get $pointer) (global.get $nowhere) (global.get $number)))
   (call $told (text "number nowhere") (call $get (text "probe.shared") (global.get $pointer) (global.get $size) (global.get $nowhere)))))
  (i32.const 0))
)
