;; proxy_http_call, driven by the request's path. Each letter of the path is one step, in order, in the request headers callback.
;;
;;   0..9  POST /DIGIT "hello" to the cluster `service`, for 1 s    s  the same to /slow, for 5 s
;;   g  GET /get without a body                                        t  POST /trailers with the trailer x-end
;;   f  POST /forever without a time limit                             u  a cluster that is not there
;;   b  no :path, no :method, no :authority                            n  a time limit of -1
;;   p  pause the request; the last answer resumes it
;;
;; It logs a letter and the call's status and token; `A` for an answer, with what came.
(module
 (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
 (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
 (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
 (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
 (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 16)
 (func (export "proxy_abi_version_0_2_1"))
 ;; 16 pointer, 20 size, 24 token, 28 number; 1024.. texts; 4096.. the line; 8192.. the path; 65536.. what the host gives
 (global $line (mut i32) (i32.const 4096))
 (global $heap (mut i32) (i32.const 65536))
 (global $open (mut i32) (i32.const 0))
 (global $paused (mut i32) (i32.const 0))
 (global $context (mut i32) (i32.const 0))
 (func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $at i32)
  (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.const 1000000))
   (then (global.set $heap (i32.const 65536))))
  (local.set $at (global.get $heap))
  (global.set $heap (i32.add (global.get $heap) (local.get $size)))
  (local.get $at))

 (data (i32.const 1024) "service")                             ;; 7
 (data (i32.const 1040) "nowhere")                             ;; 7
 (data (i32.const 1056) "hello")                               ;; 5
 (data (i32.const 1072) ":path")                               ;; 5
 (data (i32.const 1088) "\01\00\00\00\05\00\00\00\03\00\00\00x-end\00yes\00") ;; 22
 ;; :method POST, :path /0, :authority svc.example.org, x-probe yes
 (data (i32.const 1152) "\04\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\02\00\00\00\0a\00\00\00\0f\00\00\00\07\00\00\00\03\00\00\00:method\00POST\00:path\00/0\00:authority\00svc.example.org\00x-probe\00yes\00") ;; 97
 (data (i32.const 1280) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\05\00\00\00\0a\00\00\00\0f\00\00\00:method\00POST\00:path\00/slow\00:authority\00svc.example.org\00") ;; 80
 (data (i32.const 1408) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\04\00\00\00\0a\00\00\00\0f\00\00\00:method\00GET\00:path\00/get\00:authority\00svc.example.org\00") ;; 78
 (data (i32.const 1536) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\09\00\00\00\0a\00\00\00\0f\00\00\00:method\00POST\00:path\00/trailers\00:authority\00svc.example.org\00") ;; 84
 (data (i32.const 1664) "\03\00\00\00\07\00\00\00\04\00\00\00\05\00\00\00\08\00\00\00\0a\00\00\00\0f\00\00\00:method\00POST\00:path\00/forever\00:authority\00svc.example.org\00") ;; 83

 (func $put (param $byte i32)
  (i32.store8 (global.get $line) (local.get $byte))
  (global.set $line (i32.add (global.get $line) (i32.const 1))))
 (func $digits (param $number i32)
  (if (i32.ge_u (local.get $number) (i32.const 10)) (then (call $digits (i32.div_u (local.get $number) (i32.const 10)))))
  (call $put (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))
 (func $number (param $number i32)
  (call $put (i32.const 32))
  (call $digits (local.get $number)))
 (func $text (param $at i32) (param $size i32)
  (call $put (i32.const 32))
  (memory.copy (global.get $line) (local.get $at) (local.get $size))
  (global.set $line (i32.add (global.get $line) (local.get $size))))
 (func $quoted (param $at i32) (param $size i32)
  (call $put (i32.const 32))
  (call $put (i32.const 96))
  (memory.copy (global.get $line) (local.get $at) (local.get $size))
  (global.set $line (i32.add (global.get $line) (local.get $size)))
  (call $put (i32.const 96)))
 (func $say
  (drop (call $log (i32.const 2) (i32.const 4096) (i32.sub (global.get $line) (i32.const 4096))))
  (global.set $line (i32.const 4096)))

 (func $ask (param $letter i32) (param $cluster i32) (param $headers i32) (param $headers_size i32) (param $body_size i32)
  (param $trailers_size i32) (param $timeout i32) (local $status i32)
  (i32.store (i32.const 24) (i32.const 0))
  (local.set $status (call $http_call (local.get $cluster) (i32.const 7) (local.get $headers) (local.get $headers_size)
   (i32.const 1056) (local.get $body_size) (i32.const 1088) (local.get $trailers_size) (local.get $timeout) (i32.const 24)))
  (call $put (local.get $letter))
  (call $number (local.get $status))
  (call $number (i32.load (i32.const 24)))
  (call $say)
  (if (i32.eqz (local.get $status)) (then (global.set $open (i32.add (global.get $open) (i32.const 1))))))

 (func $step (param $letter i32)
  (if (i32.and (i32.ge_u (local.get $letter) (i32.const 48)) (i32.le_u (local.get $letter) (i32.const 57))) (then
   (i32.store8 (i32.const 1208) (local.get $letter))
   (call $ask (local.get $letter) (i32.const 1024) (i32.const 1152) (i32.const 97) (i32.const 5) (i32.const 0) (i32.const 1000))))
  (if (i32.eq (local.get $letter) (i32.const 115)) (then
   (call $ask (local.get $letter) (i32.const 1024) (i32.const 1280) (i32.const 80) (i32.const 5) (i32.const 0) (i32.const 5000))))
  (if (i32.eq (local.get $letter) (i32.const 103)) (then
   (call $ask (local.get $letter) (i32.const 1024) (i32.const 1408) (i32.const 78) (i32.const 0) (i32.const 0) (i32.const 1000))))
  (if (i32.eq (local.get $letter) (i32.const 116)) (then
   (call $ask (local.get $letter) (i32.const 1024) (i32.const 1536) (i32.const 84) (i32.const 5) (i32.const 22) (i32.const 1000))))
  (if (i32.eq (local.get $letter) (i32.const 102)) (then
   (call $ask (local.get $letter) (i32.const 1024) (i32.const 1664) (i32.const 83) (i32.const 5) (i32.const 0) (i32.const 0))))
  (if (i32.eq (local.get $letter) (i32.const 117)) (then
   (call $ask (local.get $letter) (i32.const 1040) (i32.const 1408) (i32.const 78) (i32.const 0) (i32.const 0) (i32.const 1000))))
  (if (i32.eq (local.get $letter) (i32.const 98)) (then
   (call $ask (local.get $letter) (i32.const 1024) (i32.const 1088) (i32.const 22) (i32.const 0) (i32.const 0) (i32.const 1000))))
  (if (i32.eq (local.get $letter) (i32.const 110)) (then
   (call $ask (local.get $letter) (i32.const 1024) (i32.const 1408) (i32.const 78) (i32.const 0) (i32.const 0) (i32.const -1))))
  (if (i32.eq (local.get $letter) (i32.const 112)) (then (global.set $paused (i32.const 1)))))

 (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32) (local $at i32) (local $end i32)
  (drop (call $value (i32.const 0) (i32.const 1072) (i32.const 5) (i32.const 16) (i32.const 20)))
  (memory.copy (i32.const 8192) (i32.load (i32.const 16)) (i32.load (i32.const 20)))
  (local.set $at (i32.const 8193))
  (local.set $end (i32.add (i32.const 8192) (i32.load (i32.const 20))))
  (global.set $context (local.get $id))
  (global.set $paused (i32.const 0))
  (global.set $open (i32.const 0))
  (block $done
   (loop $next
    (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
    (call $step (i32.load8_u (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (br $next)))
  (global.get $paused))

 ;; The lines of a map; the router's own time is left out.
 (func $map (param $map i32) (local $count i32) (local $at i32) (local $sizes i32) (local $n i32) (local $m i32)
  (call $number (call $pairs (local.get $map) (i32.const 16) (i32.const 20)))
  (if (i32.eqz (i32.load (i32.const 20))) (then (return)))
  (local.set $count (i32.load (i32.load (i32.const 16))))
  (local.set $sizes (i32.add (i32.load (i32.const 16)) (i32.const 4)))
  (local.set $at (i32.add (local.get $sizes) (i32.mul (local.get $count) (i32.const 8))))
  (block $done
   (loop $next
    (br_if $done (i32.eqz (local.get $count)))
    (local.set $n (i32.load (local.get $sizes)))
    (local.set $m (i32.load (i32.add (local.get $sizes) (i32.const 4))))
    (call $text (local.get $at) (local.get $n))
    (local.set $at (i32.add (local.get $at) (i32.add (local.get $n) (i32.const 1))))
    (call $put (i32.const 61))
    ;; x-envoy-upstream-service-time is the only line with a name of 29 letters.
    (if (i32.ne (local.get $n) (i32.const 29)) (then
     (memory.copy (global.get $line) (local.get $at) (local.get $m))
     (global.set $line (i32.add (global.get $line) (local.get $m)))))
    (local.set $at (i32.add (local.get $at) (i32.add (local.get $m) (i32.const 1))))
    (local.set $sizes (i32.add (local.get $sizes) (i32.const 8)))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br $next))))

 (func (export "proxy_on_http_call_response") (param $id i32) (param $token i32) (param $headers i32) (param $body i32) (param $trailers i32)
  (call $put (i32.const 65))
  (call $number (i32.ne (local.get $id) (global.get $context)))
  (call $number (local.get $token))
  (call $number (local.get $headers))
  (call $number (local.get $body))
  (call $number (local.get $trailers))
  (call $say)
  (call $put (i32.const 72))
  (call $map (i32.const 6))
  (call $say)
  (call $put (i32.const 66))
  (call $number (call $buffer (i32.const 4) (i32.const 0) (i32.const 1000) (i32.const 16) (i32.const 20)))
  (call $quoted (i32.load (i32.const 16)) (i32.load (i32.const 20)))
  (call $say)
  (call $put (i32.const 84))
  (call $map (i32.const 7))
  (call $say)
  (call $put (i32.const 83))
  (call $number (call $status (i32.const 28) (i32.const 16) (i32.const 20)))
  (call $number (i32.load (i32.const 28)))
  (call $quoted (i32.load (i32.const 16)) (i32.load (i32.const 20)))
  (call $say)
  (global.set $open (i32.sub (global.get $open) (i32.const 1)))
  (if (i32.and (global.get $paused) (i32.eqz (global.get $open))) (then
   (global.set $paused (i32.const 0))
   (drop (call $effective (global.get $context)))
   (drop (call $continue (i32.const 0))))))
)
