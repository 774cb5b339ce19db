"""Two RSA pairs for tests: making one takes longer than a whole join.

Their primes are public, so they protect nothing.
"""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.crypto.rsa_seal import PUBLIC_EXPONENT, CandidateKey


def _pair(p: int, q: int) -> CandidateKey:
    d = pow(PUBLIC_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(PUBLIC_EXPONENT, p * q),
    )
    return CandidateKey(numbers.private_key(unsafe_skip_rsa_key_validation=True))


PAIR: Final = _pair(
    int(
        "fb6cd4e6165028e08ef8a987c3b8c5f4cce1f73f3318f72131c09c93474761b3e1adf3ec2f9c2b4d"
        "21c5eb795d13c59c4147d6ed4109371ca67fd63c69785838967a8722a82b05d1efd48cca1b0837e2"
        "a546dab03304ff778baf762a4887ec4b217f795155d6131ad67fddf72e510f003055edaaf83473ea"
        "7dae0cebdbe19f10044836f018e885bdc9d8459d592d5f946998a08c580e6c17e1cb8438bb7e4f5d"
        "ac1060632f2870a4ed2480bd932fe1a2e9c522197f219e7451dd92ef873613f1",
        16,
    ),
    int(
        "c3b06362c1e23f9446797f32a41123af4fe4320339084874f07cd53bf1a8e575c11ace935d37a3a7"
        "af4e45a13490bcab46b9bc8d0205d17eea7b9cfa68dec86ba5a005a573ead2545569d4e06e0fe25b"
        "57473fde3b8eb692290153906f13c2badd7c74aa76b2e01f0ffd0e82c014e45e4b398826e1f40e21"
        "094a17f732b37494366dfa853cc0f6160bfe01f403fa86e1868fa60a1eb49c444e1a5fd179f0c479"
        "a158af26702d8d65e0eb7b83a2097ac20f3b817d4a646f69c71209040287c297",
        16,
    ),
)

SECOND_PAIR: Final = _pair(
    int(
        "ee3bb415b25de7138989672137a3c4a66318d83f9aa14a38dc51ab14b7f372ffa97cded1337eaaa0"
        "872089a5a37a54123a1a2560063eb962686855205690ea73bff41da431b4504bbd127e74ae424f04"
        "1fbea3c8960074e1cb672b097976755b1c73af6a744efbbcf8042ccbf31f749a1c32898b60c882fd"
        "f46eb72fdd1ee6ad605d052f63513138505c3fd287d20be34a8882188b643aed20de0ce4f50c8522"
        "1d8b8252e925202ece4d09e97d62c675c8f16c4a3d164d98b4127b6de7a9eadb",
        16,
    ),
    int(
        "c31411bcfd6c4a0f4204bcab191e19d07a504ab0933f31d135520d3a9a7bbd1e665c32fb07b422c0"
        "e1e1919ec133a08d98a9ad824c030b3c0c96d8dd0e3a3d38f51ee17a2b7a95af4d2a889b60a063b5"
        "b4168a24ba8b35e328c54305fc82ec81d96c0564eedef0f290463a9e613053c05923215ecfe83761"
        "64028404fb9e6d15f5d9ed825ea3387a31a2fd153c4cc69a51c06c8331b559fcad00fa88a8a221d3"
        "f29456f16cd4dc4deccd1ad946b8c7fcab39f6f1f7b1e08506ab3a5f7da1ce49",
        16,
    ),
)
