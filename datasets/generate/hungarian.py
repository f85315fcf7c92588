"""Notices of ten towns in Hungarian: 24 subjects x 10 towns. A model of English knows little of this language."""

from common import Set, pick

# Name, adjective, "in the town".
TOWNS = [
    ("Szolnok", "szolnoki", "Szolnokon"), ("Kecskemét", "kecskeméti", "Kecskeméten"),
    ("Miskolc", "miskolci", "Miskolcon"), ("Sopron", "soproni", "Sopronban"),
    ("Baja", "bajai", "Baján"), ("Eger", "egri", "Egerben"), ("Makó", "makói", "Makón"),
    ("Pápa", "pápai", "Pápán"), ("Tokaj", "tokaji", "Tokajban"), ("Vác", "váci", "Vácon"),
]
STREETS = ["Petőfi", "Kossuth", "Rákóczi", "Ady", "Jókai", "Arany János", "Bartók", "Dózsa", "Széchenyi", "Damjanich"]

# Title, sentences, two ways to ask.
SUBJECTS = [
    ("Szelektív hulladékgyűjtés", [
        "A műanyag és a papír külön zsákba kerül, a zsákot reggel hatig kell a kapu elé tenni.",
        "Üveget csak a gyűjtőszigeten lehet leadni, mert a kocsi nem viszi el.",
        "Aki elmulasztja a szétválogatást, annak a hulladékát nem szállítják el.",
        "A lombot és a levágott füvet komposztáló edénybe gyűjtik."],
        ["mikor viszik el a szelektív hulladékot", "hová tegyem a papír és műanyag zsákot"]),
    ("Piaci napok", [
        "A termelők kedden és szombaton árulnak zöldséget, tojást és mézet.",
        "Az asztalokat a piacfelügyelő osztja ki, a helypénzt készpénzben szedi be.",
        "Gombát csak a szakellenőr vizsgálata után szabad eladni.",
        "A csarnok fedett részén hentesek és pékek is várják a vevőket."],
        ["melyik nap van piac a termelőkkel", "hol lehet friss tojást és zöldséget venni"]),
    ("Könyvtári beiratkozás", [
        "Az olvasójegy egy évig érvényes, tizennégy év alatt ingyenes.",
        "Egyszerre hat könyv kölcsönözhető négy hétre, a késedelemért díjat kell fizetni.",
        "A folyóiratokat helyben lehet olvasni, a számítógépek használata díjtalan.",
        "Beiratkozáshoz személyi igazolvány és lakcímkártya szükséges."],
        ["mennyibe kerül az olvasójegy a könyvtárban", "hány könyv kölcsönözhető egyszerre"]),
    ("Uszoda nyitvatartása", [
        "A nagymedence hajnalban nyit, délelőtt az iskolák úszásoktatása foglalja el a pályák felét.",
        "Úszósapka viselése kötelező, a szekrényhez pénzérme kell.",
        "A szauna csak felnőtteknek jár, hétvégén külön jeggyel.",
        "Karbantartás miatt augusztusban két hétre leeresztik a vizet."],
        ["mikor nyit az uszoda reggel", "kell-e úszósapka a medencében"]),
    ("Méhészek egyesülete", [
        "A kaptárakat tavasszal kell átvizsgálni, az anya petézését figyelni.",
        "Az atkairtást a pergetés után végzik, a szert az egyesület közösen rendeli.",
        "Az akácméz felvásárlási ára a közgyűlésen derül ki.",
        "Permetezés előtt a gazdák kötelesek szólni a méhészeknek."],
        ["méhészek közgyűlése és az akácméz ára", "mikor kell a kaptárakat átvizsgálni"]),
    ("Óvodai felvétel", [
        "A szülők április végéig adhatják be a jelentkezést a gyermek születési anyakönyvi kivonatával.",
        "A körzetes óvoda nem utasíthatja el a harmadik életévét betöltött gyermeket.",
        "A beszoktatás két hétig tart, addig az egyik szülő bent maradhat.",
        "Az étkezést hetente kell lemondani vagy megrendelni."],
        ["óvodai jelentkezés határideje", "milyen irat kell az óvodai felvételhez"]),
    ("Kutyák oltása", [
        "A veszettség elleni oltás évente kötelező, az állatorvos a művelődési ház udvarán dolgozik.",
        "Oltási könyv és mikrochip nélkül az ebet nem oltják be.",
        "A kóbor állatokat a gyepmester szállítja a menhelyre.",
        "Az oltás díja féreghajtót is magában foglal."],
        ["veszettség elleni oltás időpontja kutyáknak", "mennyi az eboltás díja"]),
    ("Kerékpárút felújítása", [
        "A töltésen vezető sávot újraaszfaltozzák, a forgalmat terelőúton vezetik.",
        "A kerékpárosok leszállva mehetnek át a hídon a munkák végéig.",
        "A korlátokat tűzihorganyzott acélból készítik.",
        "Az átadás után pihenőpadok és szerviz oszlop is lesz."],
        ["meddig zárják le a kerékpárutat", "terelőút kerékpárosoknak a hídnál"]),
    ("Horgászengedély", [
        "A napijegyet a halőr adja ki, ponty esetén naponta két darab vihető el.",
        "Tilalmi időben a süllőt és a csukát vissza kell engedni.",
        "Éjszaka csak kivilágított állásról szabad horgászni.",
        "A gyermekek fél áron váltanak éves engedélyt."],
        ["hány pontyot vihetek el naponta", "hol kapok horgász napijegyet"]),
    ("Téli síkosságmentesítés", [
        "A járdát az ingatlan tulajdonosa köteles letakarítani reggel hétig.",
        "Só helyett zúzott követ vagy hamut kell szórni a fák közelében.",
        "A hókotrók először a buszok útvonalát tisztítják.",
        "Szóróanyagot a telephelyen ingyen lehet vinni."],
        ["ki takarítja a járdát hóeséskor", "szóróanyag ingyen télen"]),
    ("Néptáncegyüttes", [
        "A próbák csütörtök este kezdődnek, kezdőket is szívesen fogadnak.",
        "A viseletet az együttes adja, csizmát mindenki maga vesz.",
        "Nyáron erdélyi táborban tanulnak új táncokat.",
        "A zenekarba brácsást és bőgőst keresnek."],
        ["néptánc próba kezdőknek este", "zenekar brácsást keres"]),
    ("Fűtési támogatás", [
        "A tűzifa juttatását jövedelemigazolással lehet kérni október közepéig.",
        "Háztartásonként két köbméter keményfát visznek ki a rászorulóknak.",
        "Aki gázzal fűt, pénzbeli segítséget kap.",
        "A kérelmet a szociális iroda bírálja el harminc napon belül."],
        ["ki kaphat tűzifa támogatást", "fűtési támogatás kérelem határideje"]),
    ("Kéményseprés", [
        "A sormunka lakossági ingatlanban ingyenes, az időpontot levélben közlik.",
        "A vegyes tüzelésű kazán kéményét évente ellenőrzik.",
        "Szén-monoxid érzékelőt minden kályha mellé javasolnak.",
        "Ha a szakember nem jut be, új időpontot kell kérni."],
        ["ingyenes kéményseprés időpontja", "milyen gyakran ellenőrzik a kazán kéményét"]),
    ("Szüreti felvonulás", [
        "A menet a templomtól indul, lovas kocsik és hintók viszik a bíróékat.",
        "A préselt mustot a borászok kóstoltatják, este bál lesz.",
        "A felvonulás idejére az autókat más utcába kell állítani.",
        "A legszebb szőlőkoszorú készítője díjat kap."],
        ["honnan indul a szüreti felvonulás", "szüreti bál és must kóstolás"]),
    ("Véradás", [
        "Éhgyomorra ne jöjjön senki, a jelentkezők előtte igyanak sok folyadékot.",
        "Férfiak évente ötször, nők négyszer adhatnak vért.",
        "A tetoválás után hat hónapot kell várni.",
        "A többszörös véradókat oklevéllel köszöntik."],
        ["véradás mikor lesz", "tetoválás után adhatok-e vért"]),
    ("Parkolási rend", [
        "A belvárosban hétköznap fizetni kell, szombaton délután már nem.",
        "A lakossági bérletet a forgalmi engedély bemutatásával állítják ki.",
        "Mozgássérült igazolvánnyal a kijelölt hely ingyenes.",
        "A bírságot nyolc napon belül feleáron lehet befizetni."],
        ["parkolási bérlet lakosoknak", "meddig fizethető be feleáron a parkolási bírság"]),
    ("Temető gondozása", [
        "A lejárt sírhelyeket a hozzátartozók tíz évre válthatják meg újra.",
        "A kaput mindenszentekkor este nyolcig nyitva tartják.",
        "Elszáradt virágot és mécsest a kijelölt tárolóba kell dobni.",
        "Sírkövet csak bejelentés után lehet állítani."],
        ["sírhely újraváltás hány évre", "temető nyitvatartás mindenszentekkor"]),
    ("Buszmenetrend változása", [
        "A reggeli járat tíz perccel korábban indul, hogy elérje a gyorsvonatot.",
        "Iskolaszünetben a délutáni csuklós busz nem közlekedik.",
        "A havi bérletet a sofőrnél már nem lehet megvenni.",
        "A végállomás a vasútállomás elé kerül."],
        ["mikor indul a reggeli busz a gyorsvonathoz", "hol vehetek havi buszbérletet"]),
    ("Tűzgyújtási tilalom", [
        "Aszály idején az erdő kétszáz méteres körzetében tilos szabadban tüzet rakni.",
        "Az avar égetését a rendelet egész évben tiltja.",
        "Bográcsozni csak kiépített tűzrakó helyen lehet.",
        "A szabálysértőre az erdőfelügyelő bírságot szab ki."],
        ["szabad-e avart égetni", "tűzgyújtási tilalom az erdő közelében"]),
    ("Zeneiskolai meghallgatás", [
        "A jelentkező énekel egy népdalt és visszatapsol egy ritmust.",
        "Hegedűre és zongorára sok a jelentkező, fúvós hangszeren több a szabad hely.",
        "A hangszert az intézmény kölcsönzi térítés ellenében.",
        "Az eredményt a hirdetőtáblán közlik."],
        ["zeneiskola felvételi meghallgatás hegedű", "kölcsönöz-e hangszert a zeneiskola"]),
    ("Ivóvíz korlátozása", [
        "Nyári hőségben este hat és tíz között tilos a kert locsolása.",
        "Csőtörésnél lajtos kocsi áll a sarkon, edényt vigyenek.",
        "A vízóra cseréje miatt a szolgáltatás két órát szünetel.",
        "A zavaros víz nem ártalmas, ki kell folyatni."],
        ["mikor tilos locsolni a kertet", "csőtörés lajtos kocsi hol áll"]),
    ("Sakkszakkör", [
        "A gyerekek hétfőnként a klubban tanulják a megnyitásokat.",
        "A villámverseny győztese kupát és könyvet nyer.",
        "Órát és készletet az edző hoz.",
        "Nyugdíjas játékosok is csatlakozhatnak."],
        ["sakk szakkör gyerekeknek melyik nap", "villámverseny díja sakkban"]),
    ("Lomtalanítás", [
        "A megunt bútort és matracot legfeljebb két köbméterig viszik el.",
        "Gumiabroncs, festék és elem nem tehető ki az utcára.",
        "Az időpontot telefonon kell egyeztetni, évente egyszer díjtalan.",
        "A kirakott holmi a szolgáltató tulajdona."],
        ["régi bútor elvitele lomtalanítás", "kitehetem-e a gumiabroncsot az utcára"]),
    ("Házasságkötés helyszíne", [
        "A szertartás a városháza dísztermében díjtalan, külső helyszínért fizetni kell.",
        "A szándékot harminc nappal előtte kell bejelenteni az anyakönyvvezetőnél.",
        "Két tanú személyazonosságát igazolni kell.",
        "A zenét a pár hozza, a gyertyagyújtás megengedett."],
        ["esküvő a városházán mennyibe kerül", "házasságkötési szándék bejelentése"]),
]


def make() -> Set:
    out = Set("hungarian")
    for s, (title, sentences, _) in enumerate(SUBJECTS):
        for t, (town, adjective, there) in enumerate(TOWNS):
            first = pick(4, "hu", s, t)
            chosen = [sentences[(first + i) % 4] for i in range(3)]
            street, number, hour = STREETS[pick(10, "st", s, t)], 1 + pick(90, "no", s, t), 7 + pick(10, "h", s, t)
            place = [
                f"{there} az ügyet a {street} utca {number}. alatt intézik, {hour} órától.",
                f"A {adjective} iroda címe {street} utca {number}., az ajtó {hour} órakor nyílik.",
            ][pick(2, "form", s, t)]
            opening = f"Tájékoztatjuk {town} lakóit az alábbiakról."
            text = " ".join([opening, *chosen, place])
            # What the chosen sentences leave out is another town's answer: it is related, no more.
            out.document(f"h{s:02}{t}", title, text)
    for s, (_, _, questions) in enumerate(SUBJECTS):
        for n, question in enumerate(questions):
            for turn in range(2):
                t = (pick(10, "q", s, n) + 5 * turn) % 10
                town, adjective, there = TOWNS[t]
                asked = [f"{adjective} {question}", f"{question} {there}", f"{town}: {question}"][pick(3, "w", s, n, turn)]
                out.query(f"q{s:02}{n}{turn}", asked, {f"h{s:02}{t}": 2})
    return out
