;; proxy_set_effective_context: this stream, the root, nobody; what is read through it.
(module
 (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
 (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (global $root (mut i32) (i32.const 0))
 (func $look
  (call $got (text "header") (call $value (i32.const 0) (text "x-a") (global.get $pointer) (global.get $size)))
  (call $got (text "property") (call $property (text "request\00path") (global.get $pointer) (global.get $size))))
 (func (export "proxy_on_context_create") (param $id i32) (param $parent i32)
  (if (i32.eqz (local.get $parent)) (then (global.set $root (local.get $id)))))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "set_effective_context")) (then
   (call $told (text "nobody") (call $effective (i32.const 12345)))
   (call $look)
   (call $told (text "root") (call $effective (global.get $root)))
   (call $look)
   (call $told (text "this") (call $effective (local.get $id)))
   (call $look)
   (call $told (text "none") (call $effective (i32.const 0)))
   (call $look)
   (call $told (text "root again") (call $effective (global.get $root)))))
  (i32.const 0))
 (func (export "proxy_on_request_body") (param $id i32) (param $size_now i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $look)))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $told (text "root") (call $effective (global.get $root)))
   (call $look))))
)
