"""The two colour maps of the pictures as tables, so that drawing with them imports nothing heavy.

Both are matplotlib's: viridis (Smith, van der Walt and Firing, CC0) for activations, and RdBu reversed (ColorBrewer
2.0, Cynthia Brewer and Mark Harrower, Apache 2.0) for signed weights. The tests compare them with matplotlib.
"""

from __future__ import annotations

import base64

import numpy as np

from facegender.support.arrays import UInt8Array

Palette = UInt8Array
"""(levels, 3) uint8 RGB."""


def _table(text: str) -> Palette:
    return np.frombuffer(base64.b85decode(text), np.uint8).reshape(-1, 3)


VIRIDIS = _table(
    "L;+Mp0#-!?S49O`Mh99(2wX-AT}BIDM-5;{4q-<SV@DBWM-yd86lX{lXh;`nNEm8J8f-"
    "`#ZAct$NF8rTA8<$@aY!L^NF#JeBy~t7c1R|7NGNznDS1aKdPgjJM=g6tE__EXeMT^TMlyazGk-"
    "=jfJHTdMK^&(ID$kugG4%mL_35-"
    "J%mF(g+f1tLO_N>L54v>he1S#Kt+f^Mu<O0h(Ab)K1qo_N{K#9iakw=Jx+=|Pl`NHi#t(^J5q}}Q;RxOj5$?|IaZ7~Sd2JXj5k`0"
    "H(QN1T#YtejWu44HD8T1V2w0kjWc46Gh>Z1WR5arjxlDAF=vi3XpS&xjxcJDFKdo3Y>qB%jxKJFE^m%4aE>i;jx2GGEOL%4bB-"
    "%?jw^MJDt3-4caAD}jwyMLDSD16dyXi4jwpSOCw`76e~u@BjwXSQCW4M8f{rDFjwOVSC54V8hK?kMjw6VUBZ-"
    "b9ij5+RjUtSVB8`n9j*TIYjUkYYA(4zAl8hjdj3ASYAC!zAm5U#iiyxPZADD|DnTj8piXNMa9-"
    "N6Dorxcwi65VcAE1aIp@<)$haaMcAftvLq=q4-"
    "g(0SeBBzBSsDvY_gCwehC98rZtb!)3fhVnjD6W7huYW4Ae=M<nEwX(svwSbKd@;3qGPZg&ws|$Tc{jLtIJtK^x^_Febv?XvKfH55"
    "y>ddnaYVmxM!;`K!EQ>yZA`*!PQz<Z#A;H-X;j5%R>o&o$7Nc`WL(H&Uddu$%3x#5UuDZ)XUtq_&0B2ET5ir*aL-qB&{lQORCm!+"
    "deKpQ(olcXPJz=+gw#uh)k%rfNQ>4+j@Ctx*F%%nL6z7*nAkp>**u-uJD}P*qS`m5+cv1%G^*S(t=urM-7m7;Ew$b&xZWwc-"
    "YC7_Ccxh%!rvps;33H1Aj;t%&EXx;;T+Q98`a_(*y0)5;~CxK7~kU<;^Y|R<QeDW8S3R4?ByHp<s9+l9rWfN_U0h?<{|s%BmL(k"
)
"""(256, 3) uint8 RGB; dark purple is low, bright yellow is high."""

DIVERGING = _table(
    "1u$U-"
    "GGqrdX9zZG2{>&EJ8%p=a}7Us4ncVjLwgWKei2835=n#;OotRsiWN|e7gCTIRFfH2mKs=@8(N$kT%R3Zq8?$TA7iK>Wve1*tRrcy"
    "Bx<fEY_BJ7uqbe`Dsi$abF(aUv@UnGFL|{vdbTorw=;gYG=RA_fx0(?yEuisI)}YGh`v0EzCMh<KaRjakHJEb!b6k8MwP@#m&Ht("
    "#!s8aQk}?FpUGLF%3Pz%U!~1rr_N=m&uFXAYpl_3uF`R^({-}cc(m1fw$^^Q*MYj&guK~@zS@ew+l|89ki^}S#@?34-"
    "<ZhYo5|pv%i*BR;-bytrOxB0(B!Gn<*d@>uG8kR)#tO;=(gABxY+5t+UmXA>cHIV!rkn}-"
    "|WZW?aJZq%;N9Q<nPht@Y3e+)aLQk=keF*@!09{+UfG!>hj&|^4{z6;Oz6^?epX9^W^UI=I`|9@bu~M^y=~T?DF;P^7ZfY_3-"
    "re^7Z!f_4f7l_xAVq_xASp_4N4k^7!-c`10@g@$LEW>-q2L`R?cW?dAFF<NE61`sv^L=-&G0-23L*`{mgC<ktJ+)coSo{NT|1-"
    "_QKs&HdfW{oKj@+sFOc#QfL7{MEnw)4co8x%<wy`^>cZ%CY*$uldHT`NXOD!l(GZr1-"
    "s|_`9C>xt#a6nfJAp_Oq1sv61$#j`ggI^{R>WsD|{WgY%?;@}Yn6o_+9~d+(Wf?v{7#lXUBma_Ww7>5FdYiEQSEYUP7y<bY=5eq`"
    "c%V&QmT-"
    "*#T!b6nkUS=??{+iO+YXj9l_QP*Qn)?iK5T};zjO43+K&{as!Qbx{CMa)b@%Sl4XM?uI$K*m8n#Xdd6J3PWTI>9zMzcV<#FgCp{H"
    "M=S_x+pTZB{8=mFt#5qv>Yw787#3FE3OwRs}?G#6)B|@DWVf7pAsmX5hs}tCzcN<lMW`34JM5YC5j6rhYBQw2_%6CBYy}Zd<P<V1"
    "|oI^A#(&Fa04K10w8JuA7=m`"
)
"""(256, 3) uint8 RGB; blue is negative, near white is zero (between 127 and 128), red is positive."""


def reduced(palette: Palette, levels: int) -> Palette:
    """Return ``levels`` colours evenly spaced over a palette, (levels, 3) uint8."""
    chosen: Palette = palette[np.linspace(0, len(palette) - 1, levels).round().astype(int)]
    return chosen
