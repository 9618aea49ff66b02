//! Dry goods: staples, condiments, breakfast and snacks.

use crate::demo::assortment::{Category, Shelf, lines};

pub const STAPLES: Shelf = Shelf {
    category: Category {
        name: "Granos y abarrotes",
        description: "Arroz, granos, pastas, harinas, aceite, azúcar y panela.",
    },
    code: "GRA",
    count: 100,
    bar_coded: true,
    lines: lines! {
        "unit" "Arroz" ["blanco", "vitaminado" + 6, "integral" + 35]
            of ["Espiga del Llano", "El Totumo"]
            at ["500 g" 2_000, "1 kg" 3_850, "3 kg" 11_300, "5 kg" 18_500]: "Arroz de grano entero";
        "unit" "Fríjol" ["cargamanto rojo" + 25, "cargamanto blanco" + 30, "bola roja" + 10,
            "calima", "negro" + 4] of ["El Totumo"] at ["500 g" 5_600, "1 kg" 10_900]:
            "Fríjol seco seleccionado";
        "unit" "Lenteja" ["", "pequeña" + 4] of ["El Totumo", "Espiga del Llano"]
            at ["500 g" 3_000, "1 kg" 5_800]: "Lenteja seca seleccionada";
        "unit" "Garbanzo" ["", "extra" + 12] of ["El Totumo"] at ["500 g" 4_600, "1 kg" 8_900]:
            "Garbanzo seco seleccionado";
        "unit" "Arveja seca" ["verde", "amarilla"] of ["El Totumo"] at ["500 g" 2_900]:
            "Arveja seca seleccionada";
        "unit" "Maíz" ["blanco trillado", "amarillo trillado", "pira" + 25] of ["El Totumo"]
            at ["500 g" 2_500]: "Maíz seco seleccionado";
        "unit" "" ["Cebada perlada", "Cuchuco de trigo" + 4, "Cuchuco de maíz", "Quinua" + 190]
            of ["El Totumo"] at ["500 g" 3_100]: "Grano para sopas y ensaladas";
        "unit" "Pasta" ["espagueti", "fideo", "conchas", "tornillos" + 3, "macarrones" + 3,
            "cabello de ángel"] of ["Espiga del Llano"]
            at ["250 g" 1_900, "500 g" 3_500, "1 kg" 6_700]: "Pasta de sémola de trigo";
        "unit" "Lasaña" ["precocida"] of ["Espiga del Llano"] at ["400 g" 8_300]:
            "Láminas de pasta para hornear";
        "unit" "Harina de maíz" ["blanca", "amarilla"] of ["Maizal Dorado", "El Totumo"]
            at ["500 g" 2_300, "1 kg" 4_200]: "Harina precocida para arepas";
        "unit" "Harina de trigo" ["", "con polvo de hornear" + 8, "integral" + 15]
            of ["Espiga del Llano"] at ["500 g" 2_200, "1 kg" 4_000]: "Harina para panadería y cocina";
        "unit" "Fécula de maíz" [""] of ["Maizal Dorado"] at ["200 g" 2_900, "400 g" 5_200]:
            "Fécula para espesar y hornear";
        "unit" "Azúcar" ["blanca", "morena" + 4, "pulverizada" + 60] of ["San Lino"]
            at ["500 g" 2_200, "1 kg" 4_100, "2,5 kg" 10_000]: "Azúcar de caña";
        "unit" "Panela" ["redonda", "cuadrada", "pulverizada" + 18, "en cubos" + 24]
            of ["San Lino"] at ["500 g" 2_700, "1 kg" 5_200]: "Panela de trapiche";
        "unit" "Sal" ["refinada", "marina" + 90] of ["San Lino"] at ["500 g" 1_100, "1 kg" 2_000]:
            "Sal yodada y fluorada";
        "unit" "Aceite" ["vegetal", "de girasol" + 35, "de canola" + 45, "de soya" + 6]
            of ["Maizal Dorado"] at ["500 ml" 4_600, "1 L" 8_400, "3 L" 24_300]:
            "Aceite para cocinar y freír";
        "unit" "Aceite de oliva" ["", "extra virgen" + 20] of ["Maizal Dorado"]
            at ["250 ml" 16_900, "500 ml" 31_800]: "Aceite de oliva importado";
        "unit" "Margarina" ["con sal", "sin sal" + 2] of ["Maizal Dorado"]
            at ["125 g" 2_100, "500 g" 7_300]: "Margarina para cocina y mesa";
    },
};

pub const CONDIMENTS: Shelf = Shelf {
    category: Category {
        name: "Enlatados, salsas y condimentos",
        description: "Conservas, salsas, sopas, mermeladas y especias.",
    },
    code: "CON",
    count: 85,
    bar_coded: true,
    lines: lines! {
        "unit" "Atún" ["en agua", "en aceite", "en aceite de oliva" + 30, "con verduras" + 12]
            of ["Cabo Luz"] at ["120 g" 5_200, "160 g" 6_600]: "Atún en lata abrefácil";
        "pack" "Atún" ["en agua", "en aceite"] of ["Cabo Luz"] at ["3 unidades de 160 g" 18_900]:
            "Atún en lata, paquete ahorrador";
        "unit" "Sardinas" ["en salsa de tomate", "en aceite" + 5] of ["Cabo Luz"]
            at ["155 g" 4_300, "425 g" 8_100]: "Sardinas en lata";
        "unit" "" ["Maíz tierno en lata", "Arvejas en lata", "Arvejas con zanahoria en lata" + 3,
            "Fríjoles antioqueños en lata" + 35] of ["Huerto Lindo"]
            at ["180 g" 3_400, "300 g" 5_200]: "Conserva lista para servir";
        "unit" "Duraznos" ["en almíbar"] of ["Huerto Lindo"]
            at ["425 g" 8_700, "820 g" 14_900]: "Mitades de durazno en conserva";
        "unit" "Aceitunas" ["verdes con hueso", "verdes rellenas" + 15, "negras" + 12]
            of ["Huerto Lindo"] at ["200 g" 8_900]: "Aceitunas en salmuera";
        "unit" "Salsa de tomate" ["", "con menos azúcar" + 8] of ["Huerto Lindo", "Sazón Carmenza"]
            at ["200 g" 3_300, "400 g" 5_800, "1 kg" 12_400]: "Salsa de tomate para la mesa";
        "unit" "Mayonesa" ["", "light" + 5, "con limón" + 3] of ["Huerto Lindo", "Sazón Carmenza"]
            at ["200 g" 4_200, "400 g" 7_700]: "Mayonesa cremosa";
        "unit" "Salsa" ["rosada", "BBQ" + 10, "tártara" + 8, "de ajo", "de piña"]
            of ["Sazón Carmenza"] at ["200 g" 4_400, "400 g" 7_900]: "Salsa para acompañar";
        "unit" "Mostaza" ["clásica", "con miel" + 14] of ["Sazón Carmenza"]
            at ["200 g" 3_700, "400 g" 6_200]: "Mostaza para la mesa";
        "unit" "Salsa" ["soya", "inglesa" + 4, "teriyaki" + 22] of ["Sazón Carmenza"]
            at ["165 ml" 3_600, "500 ml" 8_800]: "Salsa para sazonar";
        "unit" "Ají" ["picante", "con mango" + 10, "antioqueño" + 6] of ["Sazón Carmenza"]
            at ["165 ml" 4_300]: "Ají para acompañar";
        "unit" "Vinagre" ["blanco", "de manzana" + 60, "balsámico" + 180] of ["Sazón Carmenza"]
            at ["500 ml" 2_900]: "Vinagre para ensaladas y encurtidos";
        "unit" "Pasta de tomate" ["", "con albahaca" + 6] of ["Huerto Lindo"]
            at ["200 g" 3_900, "400 g" 6_900]: "Tomate concentrado para guisos";
        "unit" "Caldo de" ["gallina", "costilla", "verduras" + 5] of ["Sazón Carmenza"]
            at ["8 cubos" 3_400, "12 cubos" 4_900]: "Caldo concentrado en cubos";
        "unit" "Sopa de" ["pollo con fideos", "costilla", "cebolla" + 6, "champiñones" + 14]
            of ["Sazón Carmenza"] at ["60 g" 2_900]: "Sopa instantánea en sobre";
        "unit" "" ["Comino molido", "Pimienta negra molida" + 45, "Color en polvo", "Orégano seco" + 20,
            "Ajo en polvo" + 25, "Canela en astillas" + 70, "Condimento completo" + 5,
            "Curry en polvo" + 20] of ["Sazón Carmenza"] at ["30 g" 2_100, "60 g" 3_700]:
            "Especia para sazonar";
        "unit" "Mermelada de" ["fresa", "mora", "piña", "guayaba"] of ["Huerto Lindo"]
            at ["200 g" 4_600, "400 g" 8_200]: "Mermelada con trozos de fruta";
    },
};

pub const BREAKFAST: Shelf = Shelf {
    category: Category {
        name: "Café, chocolate y desayuno",
        description: "Café, chocolate de mesa, aromáticas, cereales y avena.",
    },
    code: "CAF",
    count: 80,
    bar_coded: true,
    lines: lines! {
        "unit" "Café" ["molido tradicional", "molido fuerte" + 3, "en grano" + 14,
            "molido de origen Huila" + 38, "molido descafeinado" + 25] of ["Cafetal Quimbaré"]
            at ["125 g" 7_400, "250 g" 14_200, "500 g" 27_300]: "Café ciento por ciento colombiano";
        "unit" "Café instantáneo" ["granulado", "descafeinado" + 16, "con leche" + 5]
            of ["Cafetal Quimbaré"] at ["50 g" 8_600, "85 g" 13_900, "170 g" 25_800]:
            "Café soluble para preparar al momento";
        "unit" "Capuchino" ["clásico", "de vainilla" + 4, "moca" + 4] of ["Cafetal Quimbaré"]
            at ["10 sobres" 13_400]: "Mezcla en polvo para capuchino";
        "unit" "Chocolate de mesa" ["tradicional", "con clavos y canela" + 3, "sin azúcar" + 18,
            "con vainilla" + 4] of ["Cacao Niyará"] at ["250 g" 7_800, "500 g" 14_900]:
            "Chocolate en pastillas para batir";
        "unit" "Chocolate en polvo" ["instantáneo", "con malta" + 6] of ["Cacao Niyará"]
            at ["200 g" 6_700, "400 g" 12_300]: "Chocolate para la leche";
        "unit" "Cocoa" ["amarga", "azucarada"] of ["Cacao Niyará"] at ["200 g" 9_800]:
            "Cacao en polvo para repostería";
        "unit" "Aromática de" ["manzanilla", "hierbabuena", "limoncillo", "frutos rojos" + 12,
            "cidrón", "jengibre y limón" + 10] of ["Cafetal Quimbaré"]
            at ["10 sobres" 2_900, "20 sobres" 4_900]: "Infusión de hierbas y frutas";
        "unit" "Té" ["negro", "verde" + 8] of ["Cafetal Quimbaré"]
            at ["20 sobres" 5_600, "50 sobres" 12_400]: "Té en bolsitas";
        "unit" "Aguapanela instantánea" ["", "con limón" + 4, "con jengibre" + 6] of ["San Lino"]
            at ["10 sobres" 4_700]: "Panela en polvo con sabor natural";
        "unit" "Avena" ["en hojuelas", "molida", "instantánea" + 8] of ["Maizal Dorado", "Crocandina"]
            at ["250 g" 2_300, "500 g" 4_200, "1 kg" 7_800]: "Avena integral";
        "unit" "Hojuelas de maíz" ["naturales", "azucaradas" + 6, "con chocolate" + 14]
            of ["Maizal Dorado", "Crocandina"] at ["200 g" 6_200, "500 g" 13_600]:
            "Cereal crocante para el desayuno";
        "unit" "Cereal" ["de aros de miel", "de bolitas de chocolate" + 4, "de arroz inflado"]
            of ["Maizal Dorado"] at ["180 g" 6_900, "350 g" 12_400]:
            "Cereal infantil con vitaminas y hierro";
        "unit" "Granola" ["con miel", "con frutos secos" + 14, "con arándanos" + 16]
            of ["Crocandina"] at ["300 g" 8_900, "800 g" 20_900]: "Granola horneada";
        "unit" "Colada de" ["plátano", "maíz", "siete granos" + 12] of ["Maizal Dorado"]
            at ["250 g" 4_100]: "Harina para preparar colada";
        "unit" "Miel" ["de abejas", "de abejas con panal" + 30] of ["San Lino"]
            at ["250 g" 12_600, "500 g" 23_400]: "Miel pura de flores silvestres";
        "unit" "Barra de cereal" ["con miel y almendras" + 10, "con chocolate", "con fresa"]
            of ["Crocandina"] at ["25 g" 1_500]: "Barra para la merienda";
    },
};

pub const SNACKS: Shelf = Shelf {
    category: Category {
        name: "Galletas, dulces y pasabocas",
        description: "Galletas, chocolates, dulces, papas y frutos secos.",
    },
    code: "DUL",
    count: 95,
    bar_coded: true,
    lines: lines! {
        "unit" "Galletas" ["saladas", "de leche" + 6, "integrales" + 14, "de vainilla" + 4]
            of ["Horno Mayor", "Mirringa"] at ["110 g" 2_200, "300 g" 5_400]:
            "Galletas horneadas y crocantes";
        "unit" "Galletas rellenas" ["de vainilla", "de chocolate" + 2, "de fresa", "de limón"]
            of ["Mirringa"] at ["48 g" 1_050, "290 g" 5_700]: "Galletas con crema";
        "unit" "Galletas" ["de avena y pasas" + 6, "con chispas de chocolate" + 14, "de mantequilla"]
            of ["Horno Mayor"] at ["150 g" 5_100, "300 g" 9_600]: "Galletas estilo casero";
        "unit" "Wafer" ["de vainilla", "de chocolate" + 4, "de coco" + 2] of ["Mirringa"]
            at ["30 g" 950, "175 g" 4_400]: "Barquillo relleno de crema";
        "unit" "Chocolatina" ["de leche", "blanca" + 5, "con maní" + 8, "amarga 70 %" + 45]
            of ["Cacao Niyará"] at ["12 g" 900, "30 g" 2_100, "100 g" 6_600]: "Chocolate para picar";
        "unit" "Maní cubierto de chocolate" [""] of ["Cacao Niyará"]
            at ["50 g" 2_900, "200 g" 9_700]: "Maní tostado con chocolate de leche";
        "unit" "Bombón" ["de fresa", "de mora azul", "tropical" + 3] of ["Mirringa"]
            at ["24 unidades" 9_900]: "Bombón con chicle en el centro";
        "unit" "Gomas" ["ácidas" + 4, "de ositos", "de aros de durazno" + 4] of ["Mirringa"]
            at ["80 g" 2_900, "250 g" 7_900]: "Gomitas de fruta";
        "unit" "Caramelos" ["de café" + 4, "de menta", "blandos de fruta" + 6, "de coco" + 5]
            of ["Mirringa"] at ["100 unidades" 8_600]: "Dulces surtidos para compartir";
        "unit" "Masmelos" ["blancos", "de colores" + 3] of ["Mirringa"]
            at ["145 g" 4_100, "400 g" 9_800]: "Masmelos esponjosos";
        "unit" "Chicles" ["de menta", "de hierbabuena", "de fruta"] of ["Mirringa"]
            at ["10 unidades" 1_900]: "Goma de mascar sin azúcar";
        "unit" "Bocadillo" ["veleño", "con arequipe" + 22, "combinado" + 10] of ["San Lino"]
            at ["10 unidades" 5_200, "18 unidades" 8_800]: "Dulce de guayaba";
        "unit" "" ["Panelitas de leche", "Cocadas" + 12, "Manjar blanco en hoja" + 30]
            of ["San Lino"] at ["6 unidades" 4_600]: "Dulce típico";
        "unit" "Papas fritas" ["naturales", "de pollo", "de limón", "BBQ", "de tomate"]
            of ["Crocandina"] at ["30 g" 1_600, "105 g" 4_800, "220 g" 8_900]:
            "Papas fritas en hojuelas";
        "unit" "Platanitos" ["verdes", "maduros", "con limón" + 2] of ["Crocandina"]
            at ["40 g" 1_600, "150 g" 4_900]: "Tajadas crocantes de plátano";
        "unit" "Pasabocas" ["de maíz con queso", "de maíz picantes", "surtidos" + 15]
            of ["Crocandina"] at ["45 g" 1_700, "180 g" 5_400]: "Pasabocas crocantes";
        "unit" "Chicharrón" ["americano", "con limón" + 3] of ["Crocandina"] at ["20 g" 1_800]:
            "Chicharrón inflado";
        "unit" "Rosquitas" ["de queso", "de arequipe" + 12] of ["Crocandina"]
            at ["35 g" 1_700, "120 g" 4_700]: "Rosquitas horneadas";
        "unit" "Maní" ["salado", "dulce" + 3, "con pasas" + 12, "tipo japonés" + 10]
            of ["Crocandina"] at ["45 g" 1_700, "200 g" 6_300]: "Maní tostado";
        "unit" "" ["Mezcla de frutos secos", "Almendras" + 35, "Marañones" + 45,
            "Pistachos" + 80] of ["Crocandina"] at ["100 g" 7_900, "250 g" 18_400]:
            "Frutos secos para la merienda";
    },
};
