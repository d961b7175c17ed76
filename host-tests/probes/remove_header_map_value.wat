;; proxy_remove_header_map_value: known, unknown and repeated names, bad maps, pointers outside memory, wrong phases.
(module
 (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func $each (local $map i32)
  (loop $next
   (call $put (text "map "))
   (call $put_number (local.get $map))
   (call $told (i32.const 0) (i32.const 0) (call $remove (local.get $map) (text "x-other")))
   (local.set $map (i32.add (local.get $map) (i32.const 1)))
   (br_if $next (i32.le_u (local.get $map) (i32.const 9)))))
 (func $dump (param $map i32)
  (call $got_pairs (text "now") (call $pairs (local.get $map) (global.get $pointer) (global.get $size))))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
  (if (call $asked (local.get $id) (text "remove_header_map_value")) (then
   (call $told (text "there") (call $remove (i32.const 0) (text "x-a")))
   (call $told (text "gone") (call $remove (i32.const 0) (text "x-a")))
   (call $told (text "upper case") (call $remove (i32.const 0) (text "X-EMPTY")))
   (call $told (text "twice there") (call $remove (i32.const 0) (text "x-twice")))
   (call $told (text "empty") (call $remove (i32.const 0) (text "")))
   (call $told (text "nowhere") (call $remove (i32.const 0) (global.get $nowhere) (i32.const 1)))
   (call $told (text "no map, nowhere") (call $remove (i32.const 9) (global.get $nowhere) (i32.const 1)))
   (call $each)
   (call $dump (i32.const 0))))
  (i32.const 0))
 (func (export "proxy_on_request_body") (param $id i32) (param $size i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $told (text "cookies") (call $remove (i32.const 2) (text "set-cookie")))
   (call $each)
   (call $dump (i32.const 2))))
  (i32.const 0))
 (func (export "proxy_on_response_body") (param $id i32) (param $size i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $each)))
  (i32.const 0))
 (func (export "proxy_on_response_trailers") (param $id i32) (param $count i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $told (text "there") (call $remove (i32.const 3) (text "x-t")))
   (call $each)
   (call $dump (i32.const 3))))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $each))))
)
