// Verifies chains as every client and server in Go does: reads cases as JSON, writes what is wrong with each.
package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"time"
)

type verifyCase struct {
	Leaf, Root, Name string // of the leaf with what is between it and the root
	Client           bool
	At               time.Time
	Revoked          string
}

func parse(text string) *x509.Certificate {
	block, _ := pem.Decode([]byte(text))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(err)
	}
	return certificate
}

func verify(one verifyCase) string {
	root := parse(one.Root)
	if one.Revoked != "" {
		block, _ := pem.Decode([]byte(one.Revoked))
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return err.Error()
		}
		if err := list.CheckSignatureFrom(root); err != nil {
			return err.Error()
		}
		serial := parse(one.Leaf).SerialNumber
		for _, entry := range list.RevokedCertificates {
			if entry.SerialNumber.Cmp(serial) == 0 {
				return "revoked"
			}
		}
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	between := x509.NewCertPool()
	between.AppendCertsFromPEM([]byte(one.Leaf))
	usage := x509.ExtKeyUsageServerAuth
	if one.Client {
		usage = x509.ExtKeyUsageClientAuth
	}
	_, err := parse(one.Leaf).Verify(x509.VerifyOptions{
		DNSName: one.Name, Roots: roots, Intermediates: between, CurrentTime: one.At, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return err.Error()
	}
	return ""
}

func main() {
	var cases []verifyCase
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	said := make([]string, len(cases))
	for i, one := range cases {
		said[i] = verify(one)
	}
	if err := json.NewEncoder(os.Stdout).Encode(said); err != nil {
		panic(err)
	}
}
