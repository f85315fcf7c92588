//! Known answers of FLOE, from the reference implementations (Snowflake-Labs/floe-specification,
//! Apache-2.0): key of 32 zero bytes, associated data `This is AAD`. Hexadecimal.

/// A known answer: its producer, the plaintext and the sealed bytes.
pub(super) struct Known {
    pub(super) by: &'static str,
    pub(super) plain: &'static str,
    pub(super) sealed: &'static str,
}

/// Segments of 64 bytes.
pub(super) const SEGMENTS_OF_64: &[Known] = &[
    Known {
        by: "cpp",
        plain: concat!(
            "2a6894f4dbd2921bfdbbb24137fbbba2a104edc4bb26c6aa7ae5e2882d3f8fc424475ae89b2f44ca8adc40c87c96",
            "da239f5c24a31335dfdce74d05f75d22c5de9010b0",
        ),
        sealed: concat!(
            "000000000040000000209eef02903a6248efbbc28bb5fe9f26386dda29381ff7146fe7e55e6a7cceafe47fea15db",
            "0e6f0f2d76c6de30b075a3445629cd6d214246252c84c3bfbaf76dc1ffffffff8e5070ba681c6a2c99ef167ff486",
            "62044dfd427501b0effe93ff28f53d7d324232d8bc58c91956af83e89e91f4ceccbeef54beab0d18ba4041372e21",
            "ffffffffd61eff19b2d45021936d07e0e58cf65d8ee1b905937569fc10d688728212ae82f136a1db99306fef949b",
            "66ec63df7173be1f75bf142679a165ebfc5f000000231c1b027633b3086b58e62358306d4c8b80bcdccff7f70b0f",
            "231ab5c2e3ed33",
        ),
    },
    Known {
        by: "go",
        plain: concat!(
            "b7f54726b914b689881ab315b032a633b452c1c59a43f430c1cc00a39d1a5eb4773dbc6b5f26255e0d3714694c9c",
            "9ffbfa8adb998aecbb0601a4cade83764b8b13ccaa",
        ),
        sealed: concat!(
            "00000000004000000020b57c157a4855bdb2500cf55af49648e0fea0bfbac93407bc6b4fca9c471b018f869339a3",
            "eccec33fe43c2e124caadbf083e53390f9b2f1cd5d612cd50f2592affffffffff10bc888c8e6f0c6308feb9143a1",
            "61347a94ac632e2381acb5f2fca4b554bc0a2eb47bfea26edda9ec26298b797ebda8571cb28e1d9ccb59687c2e78",
            "ffffffff829f847d58257efdd08766aebb6ada17795c39605acbc683928f2e7e822916147be7af0aa19f1d7e32b3",
            "d9038ee437dc566cf8980df2b85e9037a19d000000236ddde6266ddd8519ccb76228f4929eca37ca5c2df92a1b20",
            "04d615f191ad7d",
        ),
    },
];

/// Segments of 40 bytes, with a new key every 4 segments.
pub(super) const ROTATION: &[Known] = &[
    Known {
        by: "cpp",
        plain: concat!(
            "71444e9093e66a14af70396e5446ce0e987f5477759627a0f45f36a9d811c6bcb1c07243e3ed2294657fdf927077",
            "5fcfe7d3dc6b529d99aa12969556fed5226a35cb54c8ebff2fef7721c81ab732e65ffdba4e",
        ),
        sealed: concat!(
            "00000000002800000020e8ea6a4346648779d21a18109d5671afbac8cd123d7b9b5aafaac1c05d399c8278038be7",
            "8c77a6adad7361d73983254ea4e2f32fc37ab97e25d10ac4ae53a704ffffffffb43da3e3d1543d9676220e71baba",
            "14622ff32acec1c06abeb05e0aa1b7bdf78bfb6c2b1fffffffffb99d1f34291aa2d18b92b22a0a989fa976de4118",
            "0961c4e73dcd108f02ba8c257966d972ffffffffbd16ee95bf046568723647c65a9a40e61fa3ee71556df75000a8",
            "3e73f224aa6a6d78efaeffffffff8c9d9a60c44d735ab76c1aa1e00b58668d42c916e5bb230ac0ebfbe957cf9488",
            "1173dd88ffffffff25e0927e8a44cdcd4e82b14ce7a3c844a750fea545f8d30ecf8c61f063a7e43658c0f507ffff",
            "ffff198ef8cbb7b30f32bac492a88abf1d569f84b683ec403a68ca932c436c275bb904f514baffffffffa7c7dbe1",
            "fae9a2a317e1370c00553d9e5a44ba6c3770e055065e50ace6d1386005cbfd33ffffffff7c9e12e5b4ca3e60c7f2",
            "5f363ad39f40d2595875db378a97ca846e359e85503af4ff8da8ffffffff6fce493dae4e39f011d0880fca124bd5",
            "b0939c31cf434af9736e646a227e05be55d4ac11ffffffffdffab8054c39eb056a87df19c4d5caee8f7e2914c93e",
            "097ea5be753be5fbebf27cbf0ff10000002393f12b4662fd40164b135df9317bfdd177acc439f10a0c5e4de0365d",
            "029ff9",
        ),
    },
    Known {
        by: "go",
        plain: concat!(
            "baec5a3d05e96837d3672de18881ddf7454528cf2c8e604dc09e5e08c3233bba59f8c0359db60547ef988903e36b",
            "cc80dce0f693c04c757a664e030246b15bccf6309663d5264d22654b0f86616d6c4c6611fa",
        ),
        sealed: concat!(
            "00000000002800000020610a063caa02c2dc556e770a48209279c8e50c9ed036c75318c4d49ac3f56c42fca17e47",
            "d1c4ff0a3ffdb011c09edf1a23d939f8bd9fe75f3855136049c63cacfffffffffcef546df28fc7832bb0a54d1cd3",
            "d7441134dc55d2626273a66b6049d5f9b7513f5ee67dfffffffff63eecd7ca42bc1fbddc08ded336741aba7eb620",
            "787e940b510d3bedb88026de49a15e2affffffff480fe016d8a3d3ce5001cbae97a24a39afba66575728fce3d1bc",
            "764aae2e6725adfa7c8dffffffffa595b5f465389875ad0e2819f9d77302de4a9f21d5479f3d618b5f94c83d61ca",
            "173a56faffffffffc8a81a1686ee058082ce79da0b749fb598fcb94eff598f45935f3c7401ddc89d4d10a686ffff",
            "ffffe8c16f5df03c2de4fbbf6148865af82f8fd0a997211d332671ba5bd5fe52192deb913210ffffffff8772fe21",
            "691f21c16316d39f1434c568aa5e7f907723079d18abc7e9badc7704031aa4acffffffff53617a2d9306fe824c7e",
            "ebd6f4bd4f14ce53821b9cfd5bd18c26d72e528219a1f4f21df1ffffffff08aea31e3dbf99daf7641702522e6689",
            "2d8e6ad4feb966285cdfe2cdbcb9408f27ccf0fdffffffff8233aa972c0ea26937e93d66be01ccd001ce5a418ab9",
            "7feeac6660cbef42c9cb51e9247300000023c10574a601b813286915cb7cbe536c736be345830006e66e79ba4cde",
            "058e58",
        ),
    },
];
