//! Fresh and chilled goods.

use crate::demo::assortment::{Category, Shelf, lines};

pub const PRODUCE: Shelf = Shelf {
    category: Category {
        name: "Frutas y verduras",
        description: "Frutas, verduras, tubérculos y hierbas frescas.",
    },
    code: "FRU",
    count: 100,
    bar_coded: true,
    lines: lines! {
        "kg" "" [""] of ["Finca Tibaná"] at [
            "Banano criollo" 2_400, "Plátano hartón verde" 3_000, "Plátano hartón maduro" 3_200,
            "Mango Tommy" 4_200, "Mango de azúcar" 5_600, "Papaya Maradol" 3_000, "Piña Gold" 3_400,
            "Sandía" 2_400, "Melón Cantaloupe" 3_600, "Maracuyá" 5_200, "Lulo de Castilla" 6_400,
            "Mora de Castilla" 7_200, "Fresa" 8_800, "Guayaba pera" 3_200, "Guanábana" 6_800,
            "Curuba" 4_200, "Granadilla" 7_600, "Gulupa" 6_800, "Uchuva con capacho" 7_400,
            "Pitahaya amarilla" 12_800, "Tomate de árbol" 4_200, "Feijoa" 7_200,
            "Aguacate Hass" 7_600, "Aguacate papelillo" 8_200, "Limón Tahití" 3_800,
            "Naranja Valencia" 2_400, "Naranja Tangelo" 3_200, "Mandarina arrayana" 4_200,
            "Manzana roja" 8_800, "Manzana verde" 9_200, "Pera" 8_600, "Uva Isabella" 6_800,
            "Uva Red Globe" 13_800, "Durazno amarillo" 7_800, "Kiwi" 13_000, "Borojó" 8_200,
            "Chontaduro" 7_600, "Zapote" 6_200
        ]: "Fruta fresca de temporada";
        "kg" "" [""] of ["Huerta Serrana"] at [
            "Tomate chonto" 3_600, "Tomate larga vida" 4_000, "Cebolla cabezona blanca" 3_000,
            "Cebolla cabezona roja" 3_600, "Cebolla larga" 4_200, "Cebolla puerro" 5_600,
            "Zanahoria" 2_600, "Remolacha" 2_500, "Habichuela" 4_600, "Arveja verde en vaina" 7_200,
            "Fríjol verde en vaina" 7_600, "Mazorca tierna" 3_400, "Pepino cohombro" 2_800,
            "Pepino de guiso" 3_200, "Calabacín" 3_400, "Ahuyama" 2_600, "Berenjena" 3_600,
            "Pimentón rojo" 5_200, "Pimentón verde" 4_400, "Brócoli" 5_200, "Coliflor" 4_600,
            "Repollo blanco" 2_200, "Lechuga Batavia" 4_200, "Apio" 3_600, "Rábano rojo" 3_600,
            "Ajo" 18_000, "Jengibre" 9_800
        ]: "Verdura fresca del altiplano";
        "kg" "" [""] of ["Huerta Serrana"] at [
            "Papa pastusa" 2_400, "Papa sabanera" 3_200, "Papa criolla" 4_600, "Yuca" 3_000,
            "Arracacha" 5_200, "Ñame espino" 4_600, "Cubios" 4_200
        ]: "Tubérculo fresco, sin lavar";
        "unit" "Papa" ["pastusa lavada", "criolla lavada" + 80] of ["Huerta Serrana"]
            at ["2,5 kg" 7_800]: "Papa lavada en malla";
        "unit" "" ["Cilantro", "Perejil liso", "Hierbabuena" + 8, "Albahaca" + 30, "Tomillo" + 15,
            "Guascas" + 20, "Espinaca" + 60]
            of ["Huerta Serrana"] at ["100 g" 1_500]: "Atado de hojas frescas";
        "unit" "Champiñones" ["enteros", "tajados" + 8] of ["Huerta Serrana"]
            at ["250 g" 6_700, "500 g" 12_600]: "Champiñones frescos en bandeja";
        "unit" "Ensalada" ["mixta", "César" + 18, "campesina" + 6] of ["Huerta Serrana"]
            at ["250 g" 5_200, "400 g" 7_700]: "Ensalada lavada y lista para servir";
        "unit" "Tomate cherry" ["rojo", "mixto" + 10] of ["Huerta Serrana"]
            at ["300 g" 5_100]: "Tomates pequeños en bandeja";
        "unit" "" ["Arándanos" + 10, "Uchuvas sin capacho", "Fresas seleccionadas" + 15]
            of ["Finca Tibaná"] at ["125 g" 4_800, "250 g" 8_900]: "Fruta seleccionada en bandeja";
        "unit" "Coco" ["entero"] of ["Finca Tibaná"] at ["1 unidad" 4_300]:
            "Coco fresco de la costa";
    },
};

pub const MEAT: Shelf = Shelf {
    category: Category {
        name: "Carnes, pollo y pescado",
        description: "Cortes de res y cerdo, pollo, pescados y mariscos.",
    },
    code: "CAR",
    count: 75,
    bar_coded: true,
    lines: lines! {
        "kg" "" [""] of ["Llanal"] at [
            "Lomo fino de res" 52_000, "Lomo ancho de res" 40_500, "Punta de anca" 38_500,
            "Chatas de res" 37_000, "Muchacho de res" 31_500, "Bola negra de res" 30_500,
            "Cadera de res" 32_000, "Bota de res" 29_500, "Sobrebarriga delgada" 29_000,
            "Sobrebarriga gruesa" 27_500, "Falda de res" 26_500, "Murillo de res" 24_000,
            "Costilla de res" 20_500, "Pecho de res" 21_500, "Lagarto de res" 24_500,
            "Carne molida corriente" 20_500, "Carne molida especial" 27_000, "Hígado de res" 14_500,
            "Lengua de res" 24_500, "Callo de res" 13_500, "Hueso carnudo de res" 8_600,
            "Cola de res" 22_500
        ]: "Corte de res madurado en cava";
        "kg" "" [""] of ["Llanal"] at [
            "Lomo de cerdo" 22_500, "Cañón de cerdo" 23_500, "Pierna de cerdo sin hueso" 19_500,
            "Costilla de cerdo carnuda" 20_500, "Tocino carnudo" 17_000, "Chuleta de cerdo" 18_500,
            "Pezuña de cerdo" 9_600, "Solomito de cerdo" 24_500, "Carne de cerdo molida" 17_500,
            "Codo de cerdo" 13_500
        ]: "Corte de cerdo de granja";
        "kg" "" [""] of ["Corral Andino"] at [
            "Pollo entero con vísceras" 9_800, "Pollo entero sin vísceras" 10_800,
            "Pechuga de pollo con piel" 14_200, "Pechuga de pollo sin piel" 16_300,
            "Pechuga de pollo deshuesada" 20_500, "Pernil de pollo con rabadilla" 9_900,
            "Pierna de pollo" 11_200, "Contramuslo de pollo" 10_900,
            "Contramuslo de pollo deshuesado" 17_600, "Alas de pollo" 11_900,
            "Menudencias de pollo" 5_200, "Mollejas de pollo" 8_900
        ]: "Pollo fresco refrigerado";
        "kg" "" [""] of ["Cabo Luz"] at [
            "Mojarra roja entera" 17_500, "Trucha arcoíris entera" 24_500, "Bagre en postas" 29_500,
            "Bocachico entero" 19_500, "Cachama entera" 16_500, "Filete de tilapia" 29_800,
            "Filete de basa" 15_800, "Salmón en filete" 66_000, "Robalo en filete" 48_000,
            "Merluza en filete" 21_500, "Calamar en anillos" 33_500, "Camarón tití" 37_500
        ]: "Pescado o marisco fresco sobre hielo";
        "unit" "Carne de hamburguesa" ["de res", "de res con tocineta" + 14] of ["Llanal"]
            at ["4 unidades 400 g" 12_800, "8 unidades 800 g" 24_400]: "Carne para asar o freír";
        "unit" "Milanesa" ["de res" + 25, "de cerdo"] of ["Llanal"]
            at ["500 g" 11_600, "1 kg" 22_800]: "Filetes delgados en bandeja";
        "unit" "Milanesa" ["de pollo"] of ["Corral Andino"] at ["500 g" 11_100, "1 kg" 21_800]:
            "Filetes delgados en bandeja";
        "unit" "Goulash" ["de res" + 35, "de cerdo"] of ["Llanal"]
            at ["500 g" 10_900, "1 kg" 21_300]: "Cubos para guiso en bandeja";
        "unit" "Pechuga de pollo" ["en fajitas", "en cubos", "marinada" + 6]
            of ["Corral Andino"] at ["450 g" 10_900, "900 g" 21_000]: "Pechuga lista para cocinar";
        "unit" "Alas de pollo" ["BBQ" + 5, "picantes" + 5, "adobadas"] of ["Corral Andino"]
            at ["800 g" 13_200]: "Alas marinadas para horno o freidora de aire";
        "unit" "Gallina" ["campesina entera", "campesina despresada" + 4] of ["Corral Andino"]
            at ["2 kg" 27_500]: "Gallina para sancocho";
    },
};

pub const DAIRY: Shelf = Shelf {
    category: Category {
        name: "Lácteos y huevos",
        description: "Leche, yogur, quesos, mantequilla y huevos.",
    },
    code: "LAC",
    count: 90,
    bar_coded: true,
    lines: lines! {
        "unit" "Leche" ["entera", "entera deslactosada" + 8, "semidescremada" + 3,
            "descremada deslactosada" + 10] of ["Vallealto", "Campo Nevado"]
            at ["200 ml" 1_300, "900 ml" 3_900, "1 L" 4_300]: "Leche de vaca ultrapasteurizada";
        "pack" "Leche" ["entera", "deslactosada" + 8] of ["Vallealto", "Campo Nevado"]
            at ["6 unidades de 1 L" 24_900]: "Leche de vaca en paquete familiar";
        "unit" "Leche en polvo" ["entera", "deslactosada" + 7, "azucarada" + 3]
            of ["Campo Nevado"] at ["380 g" 14_300, "900 g" 31_500]: "Leche en polvo instantánea";
        "unit" "Yogur" ["de fresa", "de melocotón", "de mora", "natural sin azúcar" + 5,
            "griego" + 45] of ["Vallealto", "Campo Nevado"]
            at ["150 g" 2_100, "1 kg" 9_400]: "Yogur cremoso con cultivos vivos";
        "pack" "Yogur bebible" ["de fresa", "surtido"] of ["Vallealto"]
            at ["6 unidades de 150 g" 11_800]: "Yogur bebible para la lonchera";
        "unit" "Kumis" ["tradicional", "deslactosado" + 6] of ["Vallealto", "Campo Nevado"]
            at ["200 g" 2_300, "1 kg" 9_200]: "Bebida láctea fermentada";
        "unit" "Avena" ["original", "con canela" + 2, "deslactosada" + 6] of ["Vallealto"]
            at ["250 ml" 2_400, "1 L" 7_300]: "Bebida láctea de avena lista para tomar";
        "unit" "Queso" ["campesino", "doble crema" + 12, "costeño" + 8, "mozzarella" + 18,
            "cuajada"] of ["Vallealto", "Campo Nevado"]
            at ["250 g" 6_600, "500 g" 12_700]: "Queso fresco de leche de vaca";
        "unit" "Queso tajado" ["doble crema", "mozzarella" + 5, "sabana" + 10] of ["Vallealto"]
            at ["200 g" 7_300, "400 g" 13_900]: "Queso en tajadas para sánduche";
        "unit" "Queso parmesano" ["rallado", "en cuña" + 6] of ["Campo Nevado"] at ["100 g" 6_900]:
            "Queso madurado para pasta";
        "unit" "Mantequilla" ["con sal", "sin sal"] of ["Vallealto", "Campo Nevado"]
            at ["125 g" 5_400, "250 g" 10_300]: "Mantequilla de pura crema de leche";
        "unit" "Crema de leche" ["entera", "semidescremada" + 3] of ["Vallealto", "Campo Nevado"]
            at ["200 g" 4_300]: "Crema para salsas y postres";
        "unit" "Arequipe" ["tradicional", "con coco" + 8] of ["Campo Nevado"]
            at ["50 g" 1_300, "250 g" 5_400, "500 g" 10_200]: "Dulce de leche";
        "unit" "Suero costeño" ["tradicional", "picante" + 4] of ["Vallealto"] at ["400 g" 7_600]:
            "Suero cremoso para acompañar";
        "dozen" "Huevos" ["blancos A", "rojos A" + 4, "rojos AA" + 10, "de gallina libre" + 45]
            of ["Corral Andino"] at ["12 unidades" 6_200]: "Huevos frescos de gallina";
        "unit" "Huevos" ["blancos A", "rojos A" + 4, "rojos AA" + 10, "de gallina libre" + 45]
            of ["Corral Andino"] at ["30 unidades" 14_400]: "Huevos frescos en cubeta";
    },
};

pub const COLD_CUTS: Shelf = Shelf {
    category: Category {
        name: "Carnes frías y embutidos",
        description: "Jamones, salchichas, chorizos y otros embutidos.",
    },
    code: "EMB",
    count: 65,
    bar_coded: true,
    lines: lines! {
        "unit" "Jamón" ["de cerdo", "de pollo" + 4, "de pavo" + 18, "ahumado" + 10]
            of ["Don Ulpiano", "Llanal"] at ["230 g" 7_900, "450 g" 14_900]:
            "Jamón tajado empacado al vacío";
        "unit" "Salchicha" ["tradicional", "ahumada" + 22, "tipo perro" + 6]
            of ["Don Ulpiano", "Llanal"] at ["225 g" 5_900, "480 g" 11_800]:
            "Salchichas listas para calentar";
        "unit" "Salchicha de pollo" ["", "con queso" + 16] of ["Corral Andino"]
            at ["225 g" 6_100, "450 g" 11_600]: "Salchichas de carne de pollo";
        "unit" "Chorizo" ["santarrosano" + 8, "antioqueño", "de ternera" + 16, "coctelero" + 10]
            of ["Don Ulpiano", "Fogón Paisano"] at ["250 g" 8_400, "500 g" 15_900]:
            "Chorizo para asar o freír";
        "unit" "Longaniza" ["campesina", "boyacense" + 6] of ["Fogón Paisano"]
            at ["500 g" 13_800]: "Longaniza de cerdo condimentada";
        "unit" "Morcilla" ["con arroz", "antioqueña" + 5] of ["Fogón Paisano"]
            at ["500 g" 9_800]: "Morcilla precocida";
        "unit" "Mortadela" ["clásica", "de pollo" + 3, "con aceitunas" + 12]
            of ["Don Ulpiano", "Llanal"] at ["250 g" 4_600, "450 g" 7_900]:
            "Mortadela tajada para sánduche";
        "unit" "Salchichón" ["cervecero" + 9, "tradicional"] of ["Don Ulpiano", "Llanal"]
            at ["225 g" 4_900, "500 g" 9_700]: "Salchichón para tajar";
        "unit" "Tocineta" ["ahumada", "en cubos" + 3] of ["Don Ulpiano"]
            at ["150 g" 8_300, "400 g" 20_400]: "Tocineta de cerdo ahumada";
        "unit" "Cábano" ["de cerdo", "de pollo" + 2] of ["Don Ulpiano", "Llanal"]
            at ["200 g" 8_600]: "Cábanos para la picada";
        "unit" "Salami" ["italiano", "con pimienta" + 5] of ["Don Ulpiano"] at ["100 g" 8_900]:
            "Salami madurado y tajado";
        "unit" "Pernil de cerdo" ["ahumado", "horneado" + 6] of ["Llanal"] at ["250 g" 12_300]:
            "Pernil tajado de cerdo";
    },
};

pub const BREAD: Shelf = Shelf {
    category: Category {
        name: "Panadería y arepas",
        description: "Pan tajado, tostadas, ponqués, arepas y tortillas.",
    },
    code: "PAN",
    count: 65,
    bar_coded: true,
    lines: lines! {
        "unit" "Pan tajado" ["blanco", "integral" + 10, "multicereal" + 22, "mantequilla" + 6]
            of ["Espiga del Llano", "Horno Mayor"] at ["300 g" 4_100, "500 g" 6_100]:
            "Pan de molde suave";
        "unit" "Pan" ["para perro", "para hamburguesa" + 6] of ["Espiga del Llano", "Horno Mayor"]
            at ["6 unidades" 4_600, "12 unidades" 8_300]: "Pan suave para comidas rápidas";
        "unit" "Tostadas" ["clásicas", "integrales" + 8, "con ajo" + 6] of ["Espiga del Llano"]
            at ["120 g" 3_300, "250 g" 6_100]: "Tostadas horneadas y crocantes";
        "unit" "Pandebono" ["tradicional", "con bocadillo" + 8] of ["Fogón Paisano", "Horno Mayor"]
            at ["6 unidades" 7_600]: "Pandebono listo para hornear";
        "unit" "Almojábana" ["campesina"] of ["Fogón Paisano", "Horno Mayor"]
            at ["5 unidades" 7_900]: "Almojábana de cuajada y maíz";
        "unit" "Arepa" ["blanca", "amarilla" + 4, "de maíz peto" + 12, "integral" + 14]
            of ["Maizal Dorado", "Fogón Paisano"] at ["5 unidades" 3_200, "10 unidades" 5_900]:
            "Arepa de maíz lista para asar";
        "unit" "Arepa" ["de chócolo" + 10, "con queso" + 18, "boyacense" + 26]
            of ["Maizal Dorado", "Fogón Paisano"] at ["4 unidades" 6_300]:
            "Arepa rellena o dulce lista para asar";
        "unit" "Tortillas de trigo" ["", "integrales" + 9] of ["Espiga del Llano"]
            at ["8 unidades" 5_600, "12 unidades" 7_900]: "Tortillas para wraps y quesadillas";
        "unit" "Ponqué" ["de vainilla", "de naranja", "de chocolate" + 8, "marmolado" + 5]
            of ["Horno Mayor"] at ["65 g" 1_800, "230 g" 5_900, "500 g" 11_800]:
            "Ponqué esponjado";
        "unit" "Mogolla" ["negra", "chicharrona" + 25] of ["Horno Mayor"] at ["6 unidades" 4_900]:
            "Mogolla de panadería de barrio";
        "unit" "Calados" ["tradicionales", "dulces" + 5] of ["Espiga del Llano"]
            at ["200 g" 4_300]: "Pan calado y crocante";
        "unit" "Roscón" ["con bocadillo", "con arequipe" + 6] of ["Horno Mayor"]
            at ["300 g" 6_700]: "Roscón azucarado";
    },
};

pub const FROZEN: Shelf = Shelf {
    category: Category {
        name: "Congelados y helados",
        description: "Comida lista, verduras, pulpas y helados.",
    },
    code: "CNG",
    count: 65,
    bar_coded: true,
    lines: lines! {
        "unit" "Helado" ["de vainilla", "de ron con pasas" + 6, "de chocolate" + 4, "de arequipe" + 8,
            "napolitano" + 3] of ["Vallealto"] at ["150 ml" 3_100, "1 L" 14_300, "2 L" 25_600]:
            "Helado cremoso";
        "unit" "Paleta" ["de mora en agua", "de limón en agua", "de coco" + 30, "de leche" + 25]
            of ["Vallealto"] at ["70 g" 1_600]: "Paleta helada";
        "pack" "Paletas" ["de agua surtidas", "de leche surtidas" + 25] of ["Vallealto"]
            at ["6 unidades" 8_900]: "Paletas heladas en caja familiar";
        "unit" "Papas a la francesa" ["corte clásico", "corte delgado" + 4, "en cascos" + 8]
            of ["Huerta Serrana", "Fogón Paisano"] at ["500 g" 6_900, "1 kg" 12_600]:
            "Papas prefritas congeladas";
        "unit" "" ["Arveja congelada" + 12, "Maíz tierno congelado", "Verduras mixtas congeladas",
            "Brócoli congelado" + 25] of ["Huerta Serrana"] at ["500 g" 6_400]:
            "Verdura congelada lista para cocinar";
        "unit" "Pulpa" ["de mora", "de lulo" + 6, "de guanábana" + 14, "de maracuyá" + 8, "de mango"]
            of ["Finca Tibaná", "Huerta Serrana"] at ["250 g" 4_300, "1 kg" 14_900]:
            "Pulpa de fruta sin azúcar añadida";
        "unit" "Empanadas" ["de carne", "de pollo", "de queso" + 8] of ["Fogón Paisano"]
            at ["10 unidades" 11_900, "20 unidades" 22_400]: "Empanadas listas para freír";
        "unit" "" ["Deditos de queso", "Pasteles de yuca" + 4, "Carimañolas de carne" + 12,
            "Aborrajados" + 18] of ["Fogón Paisano"] at ["8 unidades" 10_600]:
            "Pasabocas congelados listos para freír";
        "unit" "Patacones" ["prefritos", "con ajo" + 4] of ["Fogón Paisano"]
            at ["500 g" 7_600]: "Patacones de plátano verde";
        "unit" "Nuggets" ["de pescado"] of ["Cabo Luz"] at ["300 g" 9_800, "600 g" 18_400]:
            "Bocados apanados de pescado";
        "unit" "Camarón congelado" ["precocido", "crudo pelado" + 6] of ["Cabo Luz"]
            at ["340 g" 17_600, "500 g" 24_900]: "Camarón congelado individualmente";
        "unit" "Filete de tilapia congelado" ["", "apanado" + 8] of ["Cabo Luz"]
            at ["500 g" 15_900]: "Filete sin piel ni espinas";
    },
};
