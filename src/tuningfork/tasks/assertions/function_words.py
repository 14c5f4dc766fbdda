"""The small words that every text of a language has: articles, pronouns, prepositions, forms of to be."""

FUNCTION_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": """the a an and or but if then than that this these those there here of to in on at by for
        from with without about into over under after before between through is are was were be been being
        am do does did done have has had having will would can could should may might must shall not no
        yes we you i he she it they us our your my his her its their me him them who what when where which
        why how all any some just only very also so too as up out more most other please thank thanks
        hello i'm it's we're you're don't can't we'll i'll let's isn't that's""",
        "de": """der die das den dem des ein eine einen einem einer eines und oder aber wenn dann als dass
        daß dieser diese dieses hier da von zu in im an am auf bei für aus mit ohne über unter nach vor
        zwischen durch ist sind war waren sein gewesen bin bist hat haben hatte wird werden würde kann
        können könnte soll sollte muss müssen darf nicht kein keine nein ja wir ihr du ich er sie es uns
        unser unsere euch dein mein meine sein seine ihre ihnen ihm ihn mich mir sich wer was wann wo
        welche warum wie alle auch so nur sehr noch schon mehr bitte danke gern gerne doch mal zum zur vom
        beim leider""",
        "fr": """le la les l' un une des du de d' et ou mais si donc que qu' qui ce cet cette ces c' ici
        là à au aux en dans sur par pour avec sans chez sous après avant entre est sont était étaient être
        été suis es sommes êtes ai as a avons avez ont avait sera peut peuvent pourrait doit faut ne n'
        pas plus non oui nous vous tu je j' il elle on ils elles notre nos votre vos mon ma mes son sa ses
        leur leurs me te se s' moi lui eux quoi quand où quel quelle pourquoi comment tout tous toute
        aussi très bien encore déjà y même merci bonjour""",
        "es": """el la los las un una unos unas de del y e o u pero si entonces que qué este esta estos
        estas eso esto aquí ahí a al en con sin por para sobre entre desde hasta después antes es son era
        eran ser sido soy eres somos está están estoy estamos estaba he ha han hemos había hay será puede
        pueden podría debe no sí nosotros usted ustedes yo tú él ella ellos nuestro nuestra su sus mi mis
        tu tus me te se lo le les nos quién cuándo dónde cuál cómo todo todos toda también muy más ya solo
        sólo gracias hola buenos""",
        "it": """il lo la i gli le l' un uno una un' di del dello della dei degli delle e ed o ma se che
        chi questo questa questi queste qui qua lì a al allo alla ai agli alle in nel nella nei nelle con
        senza per su sul sulla tra fra da dal dalla dopo prima è sono era erano essere stato stata sei
        siamo siete ho hai ha abbiamo avete hanno aveva sarà può possono potrebbe deve non no sì noi voi
        tu io lui lei loro nostro nostra vostro suo sua mio mia tuo tua mi ti si ci vi ne cosa quando dove
        quale perché come tutto tutti anche molto più già ancora solo grazie ciao c'è""",
        "pt": """o a os as um uma uns umas de do da dos das e ou mas se então que quem este esta estes
        estas isso isto aqui ali ao aos à às em no na nos nas com sem por pelo pela para sobre entre desde
        até depois antes é são era eram ser sido sou somos está estão estou estamos estava tem têm tenho
        temos tinha há será pode podem poderia deve não sim nós você vocês eu tu ele ela eles nosso nossa
        seu sua meu minha teu tua me te lhe lhes quando onde qual como tudo todos também muito mais já só
        obrigado obrigada olá num numa""",
        "nl": """de het een en of maar als dan dat die deze dit hier daar van naar in op aan bij voor uit
        met zonder over onder na tussen door is zijn was waren ben bent geweest heeft hebben heb had wordt
        worden zou kan kunnen moet moeten mag zal zullen niet geen nee ja wij we jullie u ik je jij hij
        zij ze ons onze uw jouw mijn hun hen hem haar mij me zich wie wat wanneer waar welke waarom hoe
        alle ook zo te om nog al meer veel heel er wel graag alstublieft bedankt""",
        "sv": """en ett den det de dem och eller men om så att som denna detta dessa här där av till i på
        hos för från med utan över under efter före mellan genom är var vara varit har hade blir blev
        kommer kan kunde ska skulle måste får inte ingen nej ja vi ni du jag han hon oss vår vårt våra er
        ert min mitt din ditt sin sitt sina mig dig sig honom henne vem vad när vilken varför hur alla
        också bara mycket mer ännu redan gärna tack hej vid""",
        "da": """en et den det de dem og eller men hvis så at som denne dette disse her der af til i på
        hos for fra med uden over under efter før mellem gennem er var være været har havde bliver blev
        kommer kan kunne skal skulle må får ikke ingen nej ja vi i du jeg han hun os vores jer jeres min
        mit din dit sin sit sine mig dig sig ham hende hvem hvad når hvilken hvorfor hvordan alle også
        bare meget mere endnu allerede gerne tak hej ved""",
        "fi": """ja tai mutta jos niin että joka jotka tämä nämä tuo se ne siellä täällä tässä on ovat oli
        olivat olla ollut olen olet olemme olette ei en et emme ette eivät minä sinä hän me te he meidän
        teidän heidän minun sinun hänen sen kun kuin mikä mitä missä milloin miksi miten kaikki myös vain
        hyvin vielä jo voi voit voimme voivat kanssa ilman jälkeen ennen kiitos hei kyllä nyt sitten
        mukaan""",
        "pl": """i oraz lub albo ale jeśli jeżeli to że który która które ten ta te tego tej tym tu tam z
        ze do w we na przy dla od bez o pod nad po przed między przez jest są był była było były być
        jestem jesteś jesteśmy ma mają mam mamy miał będzie będą może mogą można powinien trzeba nie tak
        my wy ja ty on ona ono oni nas nam was wam nasz nasza wasz mój moja twój jego jej ich mnie mi ci
        się kto co kiedy gdzie jaki dlaczego jak wszystko także też bardzo tylko już jeszcze więcej proszę
        dziękujemy dziękuję""",
        "tr": """ve veya ya da ama eğer ki bu şu o bunlar burada orada için ile gibi kadar sonra önce göre
        bir de mi mı mu mü var yok değil evet hayır biz siz sen ben onlar bizim sizin senin benim onun
        onların bize size sana bana ona beni seni bizi sizi kim ne zaman nerede hangi neden niçin nasıl
        her hepsi çok daha en sadece yalnızca hâlâ artık olan olarak olur oldu olacak lütfen teşekkürler
        merhaba""",
        "ru": """и или но а если то что чтобы который которая которые этот эта это эти тот та те здесь там
        из от до в во на у при для без о об под над после перед между через с со к ко по за есть был была
        было были быть будет будут может могут можно нужно надо не нет да мы вы я ты он она оно они нас
        нам вас вам наш наша ваш ваша мой моя твой его её их мне меня себя кто когда где какой почему как
        все всё также тоже очень только уже ещё более пожалуйста спасибо здравствуйте""",
        "uk": """і й та або але а якщо то що щоб який яка які цей ця це ці той те ті тут там із з зі від
        до в у на при для без про під над після перед між через к по за є був була було були бути буде
        будуть може можуть можна треба потрібно не ні так ми ви я ти він вона воно вони нас нам вас вам
        наш наша ваш ваша мій моя твій його її їх мені мене себе хто коли де чому як все всі також теж
        дуже тільки вже ще більше будь ласка дякуємо дякую""",
    }.items()
}
"""ISO 639-1 code of a language: its words, in lower case."""
