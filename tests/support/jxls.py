"""JPEG XL files of 64 x 48 pixels, as cjxl 0.7 wrote them: the tests have no other encoder.

The left half is (200, 40, 40), the right half (40, 60, 200).
"""

import base64

LEFT, RIGHT = (200, 40, 40), (40, 60, 200)

_FILES = {
    "rgb": ("{|d`MKye`m0s#P&081E)6#&%pA7hOFbAb>50Oyzh00|%<K%zg8U`7rg<`u{Z))4"),
    "boxed": (
        "0000CN?1%F4GM<}0000KW^{RQYItlQ00000YItlQ0000wYItm8{|d`MKye`m0s#P&081E)6#&%pA7hOFbAb>"
        "50Oyzh00|%<K%zg8U`7rg<`u{Z))4"
    ),
    "lossy": (
        "{|d`MLUADg5{Lo-lmlJm5&!@dDx-`WyqxR#@<WHkw2kWwZMAJ-NutO&Hc2ON2r00^tu0+IGG1iKsHh_^-Z91"
        ")j{zfc0LY(Gp8pz*MWNR#g}B6wS@$S~<MR-}O^`=`)il8Xk(=~YV_;4LKml<P+P(;U%$_wzdJXv3afSg{%xF"
        "bF0eN}@_X;w}4-5bx6BzhJ9=+2M$nK%zp(`t-K$b)@k8^VqCr+G+G0seXokOMESmIz0(q_`2Mx!X)dk3P@q="
        "`y!^b$<-^{4j9whS=vS4=llN~>VkgT(Y@uG@gNUrC8lhxCp%OYk-"
    ),
    "icc": (
        "{|d`M2=@vD66OKOnLBuBJFlaDObom0i~<e3tcDnFo4N?Q^(@2d3&SZJWpbqkqlc{;+zoExU*HqxkSU5kWWkq"
        "HlP(2JyYy^Yz^6mEu1)hd*zs%EB^R;BO1<Yy)gYWj@RJf8!UxebARsZArvfsHu%HL=g#%R6gs*1^0s#P&081"
        "E)6#&%pA7hOFbAb>50Oyzh00|%<K%zg8U`7rg<`u{Z))4"
    ),
    "lossy icc": (
        "{|d`M3ik>F66OKOnLBuBJFlaDObom0i~<e3tcDnFo4N?Q^(@2d3&SZJWpbqkqlc{;+zoExU*HqxkSU5kWWkq"
        "HlP(2JyYy^Yz^6mEu1)hd*zs%EB^R;BO1<Yy)gYWj@RJf8!UxebARsZArvfsHu%HL=g#%R6gs*1+5{Lo-m;+"
        "tq5&!@dDx-`WyqxR#@<WHkw2kWwZMAJ-NutO&Hc2ON2r00_Zd=MR>SBzQ6eFdJjJ&%T<1vENc^{1A=?%j{fg"
        "$~r!x4f@<U*2rrwkt<_>Q>%ARgpJ9Wu)OUa-VyjtBeaTbfX-g;Yac#`WFk*cg~!mSeHDkPM1?<&}OFs85h-e"
        "CGq8?(y^1DbWk5%5jLE2%lOZ1@a{6F7GbpUEXEJm@&reyVC$zkQXeWZSa{%e;O`zPx{4QFXnLgJcOn3UISWH"
        "@M<pM(Ukc^u5zAdua6CjzLMS{uv1zOosAa?"
    ),
    "gray": ("{|d`MP+SNI0s#PQ081E)6#$g~A7lLZ7XSeOfCxMQV1PlAgE)Qw"),
    "alpha": ("{|d{%g5p952oM0Q082P&n976qOGuakBkKQ;F~*PY+6#yP035>405vDV1Bo#?YSkTMDaDNq"),
    "deep": (
        "0000CN?1%F4GM<}0000KW^{RQYItlQ00000YItlQ00009YItmH3IG5ALTY$yWB&@v@B>g>2nYfJ0I&c{7>gA"
        "E+~+^WVEI262mt`_pa}pF0SW>N0z~`?03x)~$jt!+mB0ds@%;h"
    ),
    "float": (
        "0000CN?1%F4GM<}0000KW^{RQYItlQ00000YItlQ00009YItmH3IG5AOlo*+WB&@v$N>}=0tf;D0N4Oa7>gA"
        "EWdDDR!TbNm7~@|c1OUK?FM)stp`ak%;b9^`gO+GLkl_gm3gka~KtzIoIIE6~5d"
    ),
    "anim": (
        "{|d_l0|+QC2?zp`2><|;081E)6#&%pA7hOFbAb>50Oyzh00|%<K%zg8U`7rg<`u{Z))5E-k_7-z081E)6@Xp"
        "({{j&J+$L{O`1>LD0{"
    ),
    "turned": (
        "0000CN?1%F4GM<}0000KW^{RQYItlQ00000YItlQ0000IYItmL00000{|d`25EB3Z0pn_7a%8}8+W>+f2rUB"
        "wKq3I4MuCv4N&o;r$WhsXp*a61h>Q`+IHwe}A0b1Sr4BO8K<N%OSRXQ+e9VAD4k|2i(69sBM-Bb^Bg-6i+<}"
        "Io`(KQ4#w3?)^2sQtJTuKT+k7+5ISV~B(M215G}1{+JvG%;TYWXwS&Kb3*=3u3Hri>+JvZHT+kH3Qc?&)`;e"
        "{K1IO2&%F8Sn?S8n;`m}efk=%bTfy6LB*o_g%E&rW;ow%?9>?!gN`Jn_XFe?0QZM=$;K)K_o)_1I?*e)!^#P"
        "k#C4pO1d}@W(Iz{Pfpv|NZ#q|F2-GsssQ)$WhsXp*a69h=fu`S*H|<@qm!cs6mEFb)cbou;JW8ju}vp4;pgN"
        "VFxxAS>~wU?Zb{6TG1bQX7EXd_rDn9j7v88WRz2;xn`Sh#yMx9hbFpcqmM>9X{o2Cx@xPh#yV@U$0oaMv(H9"
        "5ZMo;ByKcMh#yju81s|O7!VNzh@x&vSd~(VwxBPO<GY?(#(Md1e^wUvKJ$Bh=r@eODZ^u3N;DsNa_~MN}9{J"
        ">>mwtNctGE7o?6VJF{PD>z-~98@Pd|S7=cm7Z`|rm;|9^oW0H`bg3kZPV01!$>Nk#wx0RR92009610{{R3D`"
        "IkQVnujqW*Z#<00eYn8wW94qN%?V31yU6w16ZJ(3by;9w`|B0001~YItmLfB*mi;9CF?09XPDSO{1MSpNSG0"
        "00;O2mk>900000fPf{5Vng)S9RQd}L4ie#F~-P?F~*BAGLjeLF&Gyad1Q?7*kB}SBLe>D75e?+iDnJk0+`9Q"
        "5YhbEIHqUlB}OeE=}EV=yb+!XFtpKb>fQ@F00z;M@Aqh#%If^fGRA4~%vfMy`VM*`2>_fukdhNX3;@6c0000"
        "0004lJ1O"
    ),
}
JXLS = {name: base64.b85decode(text) for name, text in _FILES.items()}
