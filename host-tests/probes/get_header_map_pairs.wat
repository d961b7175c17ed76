;; proxy_get_header_map_pairs: every map in every callback, pointers outside memory.
(module
 (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func $each (local $map i32)
  (loop $next
   (call $put (text "map "))
   (call $put_number (local.get $map))
   (call $got_pairs (i32.const 0) (i32.const 0) (call $pairs (local.get $map) (global.get $pointer) (global.get $size)))
   (local.set $map (i32.add (local.get $map) (i32.const 1)))
   (br_if $next (i32.le_u (local.get $map) (i32.const 9)))))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
  (if (call $asked (local.get $id) (text "get_header_map_pairs")) (then
   (call $each)
   (call $told (text "pointer nowhere") (call $pairs (i32.const 0) (global.get $nowhere) (global.get $size)))
   (call $told (text "size nowhere") (call $pairs (i32.const 0) (global.get $pointer) (global.get $nowhere)))
   (call $told (text "map -1") (call $pairs (i32.const -1) (global.get $pointer) (global.get $size)))))
  (i32.const 0))
 (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_request_trailers") (param $id i32) (param $count i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_trailers") (param $id i32) (param $count i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $each))))
)
