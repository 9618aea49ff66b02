//! Drinks with and without alcohol.

use crate::demo::assortment::{Category, Shelf, lines};

pub const SOFT_DRINKS: Shelf = Shelf {
    category: Category {
        name: "Bebidas",
        description: "Agua, gaseosas, jugos, té, energizantes e hidratantes.",
    },
    code: "BEB",
    count: 90,
    bar_coded: true,
    lines: lines! {
        "unit" "Agua" ["sin gas", "con gas" + 8] of ["Nevara"]
            at ["300 ml" 950, "600 ml" 1_550, "1 L" 2_200, "1,5 L" 2_900]: "Agua de manantial";
        "unit" "Agua" ["sin gas"] of ["Nevara"] at ["5 L" 7_100, "20 L" 15_800]:
            "Agua potable en garrafa";
        "unit" "Agua saborizada" ["de limón", "de maracuyá", "de frutos rojos", "de mandarina"]
            of ["Nevara"] at ["500 ml" 2_200, "1,5 L" 4_200]: "Agua con sabor y sin azúcar";
        "unit" "Soda" ["clásica", "con limón" + 4] of ["Nevara"] at ["300 ml" 1_700, "1,5 L" 4_400]:
            "Agua gasificada para mezclar";
        "unit" "Gaseosa" ["cola", "cola sin azúcar", "de manzana", "de uva", "de naranja",
            "de limón", "kola roja"] of ["Chispín"]
            at ["250 ml" 1_350, "400 ml" 2_200, "1,5 L" 4_700, "2,5 L" 6_800]: "Bebida gasificada";
        "pack" "Gaseosa" ["cola", "de manzana", "surtida" + 2] of ["Chispín"]
            at ["6 unidades de 250 ml" 8_000, "12 unidades de 400 ml" 24_900]:
            "Bebida gasificada, paquete ahorrador";
        "unit" "Ginger ale" ["", "sin azúcar"] of ["Chispín"] at ["300 ml" 1_900, "1,5 L" 4_900]:
            "Bebida gasificada de jengibre";
        "unit" "Malta" ["clásica", "light"] of ["Chispín"]
            at ["225 ml" 1_700, "330 ml" 2_400, "1,5 L" 6_200]: "Bebida de malta sin alcohol";
        "unit" "Jugo" ["de naranja" + 10, "de mango", "de mora", "de lulo" + 3, "de guayaba"]
            of ["Frutazul"] at ["200 ml" 1_550, "1 L" 5_400, "2 L" 9_800]: "Jugo pasteurizado de fruta";
        "pack" "Jugo" ["de mango", "de manzana", "surtido"] of ["Frutazul"]
            at ["6 unidades de 200 ml" 8_900]: "Jugo en caja para la lonchera";
        "unit" "Néctar" ["de durazno", "de pera", "de manzana"] of ["Frutazul"]
            at ["237 ml" 2_200, "1 L" 6_300]: "Néctar de fruta";
        "unit" "Limonada" ["natural", "de coco" + 16, "cerezada" + 12] of ["Frutazul"]
            at ["350 ml" 2_700, "1 L" 5_900]: "Limonada lista para tomar";
        "unit" "Té frío" ["de limón", "de durazno", "verde" + 4] of ["Frutazul", "Nevara"]
            at ["400 ml" 2_300, "1,5 L" 5_100]: "Té listo para tomar";
        "unit" "Hidratante" ["de mandarina", "de frutos rojos", "de limón"] of ["Nevara"]
            at ["500 ml" 3_100, "1 L" 5_300]: "Bebida con electrolitos";
        "unit" "Energizante" ["clásico", "tropical", "sin azúcar" + 3] of ["Chispín"]
            at ["250 ml" 2_300, "473 ml" 4_100]: "Bebida energizante con cafeína";
        "unit" "Refresco en polvo" ["de naranja", "de mora", "de lulo", "de maracuyá"]
            of ["Frutazul"] at ["15 g" 850, "50 g" 2_200]: "Mezcla para preparar refresco";
    },
};

pub const ALCOHOL: Shelf = Shelf {
    category: Category {
        name: "Cervezas y licores",
        description: "Cervezas, aguardiente, ron, vinos y otros licores para mayores de edad.",
    },
    code: "LIC",
    count: 60,
    bar_coded: true,
    lines: lines! {
        "unit" "Cerveza" ["rubia", "ligera", "roja" + 12, "negra" + 14, "de trigo" + 18,
            "sin alcohol" + 4] of ["Páramo Bravo"]
            at ["lata de 330 ml" 2_600, "botella de 330 ml" 2_500, "lata de 473 ml" 3_700]:
            "Cerveza fría para compartir";
        "pack" "Cerveza" ["rubia", "ligera", "roja" + 12] of ["Páramo Bravo"]
            at ["6 latas de 330 ml" 15_200, "24 latas de 330 ml" 58_900]:
            "Cerveza en lata, paquete ahorrador";
        "unit" "Refajo" ["tradicional", "suave"] of ["Páramo Bravo"]
            at ["lata de 330 ml" 2_400, "1,5 L" 6_400]: "Cerveza con gaseosa";
        "unit" "Michelada" ["clásica", "de maracuyá" + 4] of ["Páramo Bravo"]
            at ["lata de 269 ml" 3_100]: "Cerveza con limón y sal";
        "unit" "Aguardiente" ["tradicional", "sin azúcar" + 4] of ["Cañaflor"]
            at ["375 ml" 20_400, "750 ml" 38_500, "1 L" 49_800]: "Aguardiente anisado de caña";
        "unit" "Ron" ["blanco", "añejo 3 años" + 12, "añejo 8 años" + 60] of ["Cañaflor"]
            at ["375 ml" 23_500, "750 ml" 43_500]: "Ron de caña envejecido";
        "unit" "Crema de" ["whisky", "café" + 4, "ron" + 2] of ["Cañaflor"]
            at ["375 ml" 21_500, "750 ml" 39_500]: "Licor cremoso para servir frío";
        "unit" "" ["Vodka", "Ginebra" + 25, "Tequila" + 40, "Brandy" + 20] of ["Cañaflor"]
            at ["375 ml" 21_900, "750 ml" 41_500]: "Destilado para cocteles";
        "unit" "Sabajón" ["tradicional", "de feijoa" + 6] of ["Cañaflor"]
            at ["375 ml" 12_900, "750 ml" 23_900]: "Sabajón artesanal";
        "unit" "Vino" ["tinto", "blanco", "rosado", "de manzana", "moscatel" + 6] of ["Cañaflor"]
            at ["750 ml" 21_800]: "Vino de mesa";
        "unit" "Vino espumoso" ["brut" + 10, "dulce"] of ["Cañaflor"] at ["750 ml" 29_900]:
            "Vino espumoso para celebrar";
        "unit" "Sangría" ["tinta", "blanca" + 2] of ["Cañaflor"] at ["1 L" 17_600]:
            "Vino con frutas listo para servir";
    },
};
