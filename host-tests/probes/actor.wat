;; A filter that does in each callback what the request tells it to, and logs the callbacks. The filter NAME reads the header `x-NAME`:
;; steps `WHEN:WHAT`, with spaces between; of the steps for a callback the first counts.
;;
;; WHEN: h, b, t request headers, body, trailers; H, B, T those of the response; l log; o done. Behind b and B: a digit for the callback of that
;;       number, e for the one at the end of the stream.
;; WHAT, one after another: a digit: what the callback returns. L a local reply, l one without a body, g one with a gRPC status; C closes this way,
;;       c the other one; r, s continue request, response; G logs the body; R, A, P, E replace it, append, prepend, empty it; K adds a line to the
;;       headers (in body and trailers callbacks: to the trailers); N takes content-length away; X traps. By a timer, after the callback:
;;       w, W continue request, response; d a local reply; z closes.
(module
 (import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_send_local_response" (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
 (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
 (import "env" "proxy_get_buffer_bytes" (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
 (import "env" "proxy_set_tick_period_milliseconds" (func $period (param i32) (result i32)))
 (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
 ;; include "prelude.wat"
 (global $held (mut i32) (i32.const 0))
 (global $later (mut i32) (i32.const 0))

 ;; Writes the filter's name behind the line.
 (func $put_name
  (if (i32.eqz (call $property (text "plugin_name") (global.get $pointer) (global.get $size)))
   (then (call $put (i32.load (global.get $pointer)) (i32.load (global.get $size))))))
 ;; `NAME TEXT`.
 (func $say_own (param $at i32) (param $size i32)
  (call $put_name) (call $put (text " ")) (call $say (local.get $at) (local.get $size)))
 ;; Logs `NAME TEXT: STATUS` for a status that is not 0.
 (func $unless_well (param $at i32) (param $size i32) (param $status i32)
  (if (local.get $status) (then
   (call $put_name) (call $put (text " ")) (call $told (local.get $at) (local.get $size) (local.get $status)))))

 ;; The steps of a stream: a length byte, then the text.
 (func $steps (param $id i32) (result i32)
  (i32.add (i32.const 196608) (i32.shl (i32.and (local.get $id) (i32.const 255)) (i32.const 8))))
 (func $learn (param $id i32) (local $name i32) (local $steps i32) (local $length i32)
  (local.set $steps (call $steps (local.get $id)))
  (i32.store8 (local.get $steps) (i32.const 0))
  (local.set $name (global.get $line))
  (call $put (text "x-"))
  (call $put_name)
  (if (i32.eqz (call $proxy_value (i32.const 0) (local.get $name) (i32.sub (global.get $line) (local.get $name)) (global.get $pointer) (global.get $size)))
   (then
    (local.set $length (i32.load (global.get $size)))
    (i32.store8 (local.get $steps) (local.get $length))
    (memory.copy (i32.add (local.get $steps) (i32.const 1)) (i32.load (global.get $pointer)) (local.get $length))))
  (global.set $line (local.get $name)))

 ;; Where the step for a callback says what to do; 0: nowhere.
 (func $step (param $id i32) (param $when i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (local $at i32) (local $stop i32) (local $next i32)
  (local.set $at (i32.add (call $steps (local.get $id)) (i32.const 1)))
  (local.set $stop (i32.add (local.get $at) (i32.load8_u (call $steps (local.get $id)))))
  (block $none
   (loop $again
    (br_if $none (i32.ge_u (local.get $at) (local.get $stop)))
    (if (i32.eq (i32.load8_u (local.get $at)) (local.get $when))
     (then
      (local.set $next (i32.load8_u offset=1 (local.get $at)))
      (if (i32.eq (local.get $next) (i32.const 58)) (then (return (i32.add (local.get $at) (i32.const 2)))))
      (if (i32.or (i32.eq (local.get $next) (i32.add (local.get $count) (i32.const 48)))
                  (i32.and (local.get $end_of_stream) (i32.eq (local.get $next) (i32.const 101))))
       (then (return (i32.add (local.get $at) (i32.const 3)))))))
    ;; To behind the next space.
    (block $space
     (loop $skip
      (br_if $none (i32.ge_u (local.get $at) (local.get $stop)))
      (local.set $next (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $space (i32.eq (local.get $next) (i32.const 32)))
      (br $skip)))
    (br $again)))
  (i32.const 0))

 (func $is (param $what i32) (param $letter i32) (param i32) (result i32)
  (i32.eq (local.get $what) (i32.load8_u (local.get $letter))))
 (func $wait (param $id i32) (param $what i32)
  (global.set $held (local.get $id))
  (global.set $later (local.get $what))
  (drop (call $period (i32.const 5))))

 ;; Does what a step says. `way`: 0 request, 1 response; `part`: 0 headers, 1 body, 2 trailers. What the callback returns.
 (func $act (param $id i32) (param $when i32) (param $way i32) (param $part i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (local $at i32) (local $what i32) (local $result i32)
  (local.set $at (call $step (local.get $id) (local.get $when) (local.get $count) (local.get $end_of_stream)))
  (if (i32.eqz (local.get $at)) (then (return (i32.const 0))))
  (loop $next
   (local.set $what (i32.load8_u (local.get $at)))
   (local.set $at (i32.add (local.get $at) (i32.const 1)))
   (if (i32.le_u (local.get $what) (i32.const 32)) (then (return (local.get $result))))
   (if (i32.le_u (local.get $what) (i32.const 57)) (then (local.set $result (i32.sub (local.get $what) (i32.const 48)))))
   (if (call $is (local.get $what) (text "L")) (then
    (call $unless_well (text "reply") (call $reply (i32.const 403) (text "denied") (text "denied!") (text "\01\00\00\00\08\00\00\00\03\00\00\00x-denied\00yes\00") (i32.const -1)))))
   (if (call $is (local.get $what) (text "l")) (then
    (call $unless_well (text "reply") (call $reply (i32.const 401) (text "") (text "") (text "") (i32.const -1)))))
   (if (call $is (local.get $what) (text "g")) (then
    (call $unless_well (text "reply") (call $reply (i32.const 403) (text "grpc denied") (text "50% of\nit") (text "") (i32.const 7)))))
   (if (call $is (local.get $what) (text "C")) (then (call $unless_well (text "close") (call $close (local.get $way)))))
   (if (call $is (local.get $what) (text "c")) (then (call $unless_well (text "close other") (call $close (i32.sub (i32.const 1) (local.get $way))))))
   (if (call $is (local.get $what) (text "r")) (then (call $unless_well (text "continue") (call $continue (i32.const 0)))))
   (if (call $is (local.get $what) (text "s")) (then (call $unless_well (text "continue") (call $continue (i32.const 1)))))
   (if (call $is (local.get $what) (text "G")) (then
    (call $put_name)
    (call $got (text " body") (call $bytes (local.get $way) (i32.const 0) (i32.const 2000) (global.get $pointer) (global.get $size)))))
   (if (call $is (local.get $what) (text "R")) (then (call $unless_well (text "replace") (call $set (local.get $way) (i32.const 0) (i32.const -1) (text "<new>")))))
   (if (call $is (local.get $what) (text "A")) (then (call $unless_well (text "append") (call $set (local.get $way) (i32.const -1) (i32.const 0) (text "+")))))
   (if (call $is (local.get $what) (text "P")) (then (call $unless_well (text "prepend") (call $set (local.get $way) (i32.const 0) (i32.const 0) (text "-")))))
   (if (call $is (local.get $what) (text "E")) (then (call $unless_well (text "empty") (call $set (local.get $way) (i32.const 0) (i32.const -1) (text "")))))
   (if (call $is (local.get $what) (text "K")) (then
    (call $unless_well (text "add")
     (call $add (i32.add (i32.shl (local.get $way) (i32.const 1)) (i32.ne (local.get $part) (i32.const 0))) (text "x-k") (text "added")))))
   (if (call $is (local.get $what) (text "N")) (then
    (call $unless_well (text "remove") (call $remove (i32.shl (local.get $way) (i32.const 1)) (text "content-length")))))
   (if (call $is (local.get $what) (text "X")) (then (unreachable)))
   (if (i32.or (i32.or (call $is (local.get $what) (text "w")) (call $is (local.get $what) (text "W"))) (i32.or (call $is (local.get $what) (text "d")) (call $is (local.get $what) (text "z"))))
    (then (call $wait (local.get $id) (local.get $what))))
   (br $next))
  (unreachable))

 (func $heard (param $at i32) (param $size i32) (param $end_of_stream i32)
  (call $put_name)
  (call $put (text " "))
  (call $put (local.get $at) (local.get $size))
  (if (local.get $end_of_stream) (then (call $put (text ", end"))))
  (call $end))
 ;; Counts the body callbacks of a way.
 (func $counted (param $id i32) (param $way i32) (result i32) (local $at i32)
  (local.set $at (i32.add (i32.add (i32.const 139264) (i32.shl (i32.and (local.get $id) (i32.const 255)) (i32.const 1))) (local.get $way)))
  (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1)))
  (i32.load8_u (local.get $at)))
 (func $body (param $id i32) (param $way i32) (param $when i32) (param $bytes i32) (param $end_of_stream i32) (result i32)
  (call $put_name)
  (call $put (text " body ")) (call $put_number (local.get $bytes)) (if (local.get $end_of_stream) (then (call $put (text ", end")))) (call $end)
  (call $act (local.get $id) (local.get $when) (local.get $way) (i32.const 1) (call $counted (local.get $id) (local.get $way)) (local.get $end_of_stream)))

 (func (export "proxy_on_context_create") (param $id i32) (param $parent i32)
  (if (local.get $parent) (then
   (i32.store16 (i32.add (i32.const 139264) (i32.shl (i32.and (local.get $id) (i32.const 255)) (i32.const 1))) (i32.const 0))
   (i32.store8 (call $steps (local.get $id)) (i32.const 0))
   (call $say_own (text "created")))))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (call $learn (local.get $id))
  (call $heard (text "request headers") (local.get $end_of_stream))
  (call $act (local.get $id) (i32.const 104) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $end_of_stream)))
 (func (export "proxy_on_request_body") (param $id i32) (param $bytes i32) (param $end_of_stream i32) (result i32)
  (call $body (local.get $id) (i32.const 0) (i32.const 98) (local.get $bytes) (local.get $end_of_stream)))
 (func (export "proxy_on_request_trailers") (param $id i32) (param $count i32) (result i32)
  (call $heard (text "request trailers") (i32.const 0))
  (call $act (local.get $id) (i32.const 116) (i32.const 0) (i32.const 2) (i32.const 0) (i32.const 0)))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (call $heard (text "response headers") (local.get $end_of_stream))
  (call $act (local.get $id) (i32.const 72) (i32.const 1) (i32.const 0) (i32.const 0) (local.get $end_of_stream)))
 (func (export "proxy_on_response_body") (param $id i32) (param $bytes i32) (param $end_of_stream i32) (result i32)
  (call $body (local.get $id) (i32.const 1) (i32.const 66) (local.get $bytes) (local.get $end_of_stream)))
 (func (export "proxy_on_response_trailers") (param $id i32) (param $count i32) (result i32)
  (call $heard (text "response trailers") (i32.const 0))
  (call $act (local.get $id) (i32.const 84) (i32.const 1) (i32.const 2) (i32.const 0) (i32.const 0)))
 (func (export "proxy_on_log") (param $id i32)
  (call $heard (text "log") (i32.const 0))
  (drop (call $act (local.get $id) (i32.const 108) (i32.const 1) (i32.const 2) (i32.const 0) (i32.const 0))))
 (func (export "proxy_on_done") (param $id i32) (result i32)
  (call $heard (text "done") (i32.const 0))
  (drop (call $act (local.get $id) (i32.const 111) (i32.const 1) (i32.const 2) (i32.const 0) (i32.const 0)))
  (i32.const 1))
 (func (export "proxy_on_delete") (param $id i32)
  (call $heard (text "delete") (i32.const 0)))
 (func (export "proxy_on_tick") (param $id i32)
  (if (i32.eqz (global.get $held)) (then (return)))
  (drop (call $period (i32.const 0)))
  (call $unless_well (text "effective") (call $effective (global.get $held)))
  (global.set $held (i32.const 0))
  (call $say_own (text "later"))
  (if (call $is (global.get $later) (text "w")) (then (call $unless_well (text "continue") (call $continue (i32.const 0)))))
  (if (call $is (global.get $later) (text "W")) (then (call $unless_well (text "continue") (call $continue (i32.const 1)))))
  (if (call $is (global.get $later) (text "d")) (then (call $unless_well (text "reply") (call $reply (i32.const 403) (text "later") (text "denied later") (text "") (i32.const -1)))))
  (if (call $is (global.get $later) (text "z")) (then (call $unless_well (text "close") (call $close (i32.const 0))))))
)
