#!/bin/sh
# Makes the synthetic certificates of ../certificates.rs anew, each with its key in one file. They last a hundred years. Needs OpenSSL 3.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT

cat >"$scratch/settings" <<END
[ca]
default_ca = defaults
[defaults]
database = $scratch/database
new_certs_dir = $scratch
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
organizationName = optional
commonName = supplied
END
: >"$scratch/database"

# sign NAME SUBJECT AUTHORITY.. < EXTENSIONS. From a day long ago, for machines whose clock is behind.
sign() {
    name=$1 subject=$2
    shift 2
    cat >"$scratch/extensions"
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$scratch/$name.key" 2>/dev/null
    openssl req -new -key "$scratch/$name.key" -subj "$subject" -out "$scratch/$name.csr"
    openssl ca -batch -notext -config "$scratch/settings" -extfile "$scratch/extensions" -in "$scratch/$name.csr" -out "$scratch/$name.pem" \
        -startdate 20200101000000Z -enddate 21200101000000Z "$@" 2>/dev/null
}

# authority NAME
authority() {
    sign "$1" "/O=Synthetic/CN=$1" -selfsign -keyfile "$scratch/$1.key" <<END
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
END
}

# certificate AUTHORITY NAME SUBJECT [NAMES]
certificate() {
    sign "$2" "$3" -cert "$scratch/$1.pem" -keyfile "$scratch/$1.key" <<END
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth, serverAuth
${4:+subjectAltName = $4}
END
    cat "$scratch/$2.pem" "$scratch/$2.key" >"$2.synthetic.pem"
}

authority ca
cp "$scratch/ca.pem" ca.synthetic.pem
# A subject that has to be quoted, and would be misread by a parser that does not look at quotes.
certificate ca client-x '/O=Synthetic/CN=client "x", Hash=0;Hash=0,Hash=0' 'URI:spiffe://mesh/client-x, DNS:x.example.org'
certificate ca client-y '/O=Synthetic/CN=client y'
certificate ca gateway '/O=Synthetic/CN=gateway' 'URI:spiffe://mesh/gateway, DNS:gateway.example.org'
certificate ca edge '/O=Synthetic/CN=edge' 'URI:spiffe://mesh/edge, DNS:edge.example.org'
certificate ca other-edge '/O=Synthetic/CN=other edge' 'URI:spiffe://mesh/other'
certificate ca second-name '/O=Synthetic/CN=second name' 'URI:spiffe://mesh/other, URI:spiffe://mesh/edge'
# By an authority that nobody trusts, and that therefore says what it likes.
authority strangers
certificate strangers stranger '/O=Synthetic/CN=edge' 'URI:spiffe://mesh/edge'
